"""Learning to search and plan."""

from collections.abc import Mapping

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.training import Passed, Task, TrainingOptions
from headway.rl.data.problems import ProblemData
from headway.rl.data.search import SearchData
from headway.rl.models.planning_model import PlanningModel
from headway.rl.planning import judge


class Planning(Task):
    """Trains a model that plans: Searchformer on searches, MazeTransformer on paths.

    It logs ``train_loss`` and ``loss`` of ``val`` and ``test`` (nats per token), and of the plans that the
    model itself writes for problems of that part ``optimal`` (the share of shortest ways), ``solved`` (of
    ways) and ``length`` (tokens of the search before the plan). The best checkpoint is the one with the most
    shortest ways.

    Args:
        backbone: A ``PlanningModel``.
        plans: Problems that are planned in each validation or test; 0 for none.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is named tensors, as the data make and the model reads them.
    """

    def __init__(
        self, *, backbone: nn.Module, plans: int = 200, **training: Passed[TrainingOptions]
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if plans < 0:
            raise UserError(f"plans is {plans}; it must be 0 (none) or more")
        self.plans = plans
        if plans:
            self.monitor, self.monitor_mode = "val_optimal", "max"

    @property
    def model(self) -> PlanningModel:
        """The planner."""
        assert isinstance(self.backbone, PlanningModel)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Checks that data and model belong together."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, ProblemData):
            return
        problems, model = data.problems, self.model
        (_, many), size = problems.problem.name, problems.size
        if problems.problem is not model.problem:
            raise UserError(
                f"the data have {many}, the model knows {model.problem.name[1]}; set the model's tokens"
            )
        if size != model.size:
            raise UserError(
                f"the {many} have {size} cells along a side, the model knows {model.size}; set the model's "
                f"size to {size}"
            )
        if isinstance(data, SearchData) and data.longest > self.model.max_length:
            raise UserError(
                f"the data have up to {data.longest} tokens (longest), the model writes "
                f"{self.model.max_length}; raise the model's max_length"
            )

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:
        """Returns the loss per token."""
        found = self.model.loss(batch)
        many = len(next(iter(batch.values())))
        self.log(
            "train_loss",
            found["loss"],
            prog_bar=True,
            on_step=False,
            on_epoch=True,
            batch_size=many,
        )
        return self.with_penalties(found["loss"])

    def validation_step(self, batch: Mapping[str, Tensor], index: int) -> None:
        """Adds a batch to the loss."""
        self._add("val", batch)

    def test_step(self, batch: Mapping[str, Tensor], index: int) -> None:
        """Adds a batch to the loss."""
        self._add("test", batch)

    def on_validation_epoch_end(self) -> None:
        """Plans in the problems that validate."""
        if not self.trainer.sanity_checking:
            self._plan("val")

    def on_test_epoch_end(self) -> None:
        """Plans in the problems of the test."""
        self._plan("test")

    def _add(self, split: str, batch: Mapping[str, Tensor]) -> None:
        found = self.model.loss(batch)
        many = len(next(iter(batch.values())))
        for name, value in found.items():
            self.log(f"{split}_{name}", value, prog_bar=name == "loss", batch_size=many)

    def _plan(self, split: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if not self.plans or not isinstance(data, ProblemData):
            return
        problems = data.parts[split][: self.plans]
        if not problems:
            return
        found = judge(problems, self.model.search(problems))
        many = len(problems)
        self.log(f"{split}_optimal", sum(one.optimal for one in found) / many, prog_bar=True)
        self.log(f"{split}_solved", sum(one.solved for one in found) / many)
        self.log(f"{split}_length", sum(one.length for one in found) / many)
