"""Solutions at any points, from functions on meshes of their own."""

from typing import Any

from torch import Tensor, nn
from torchmetrics import MeanMetric

from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.timeseries.fields.figures import points_figure
from headway.timeseries.fields.metrics import relative_error

SHOWN = 3


class LearnOperator(Task):
    """Trains ``backbone(points, sets, valid=, set_valid=)`` on the relative L2 error of the solution.

    It logs ``train_loss`` and, for ``val`` and ``test``, the relative L2 error over the points that are
    asked for (``error``) and that of the simple models whose answers the data bring along, by their
    names. The run's ``pictures`` folder gets solutions, answers and their difference.

    Args:
        backbone: Such as ``GNOT``.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a dictionary: points (B, N, axes), sets of (B, M, numbers), y (B, N, outputs), valid
        (B, N), set_valid of (B, M), and baselines (B, N, K) if there are simple models.
    """

    monitor = "val_error"
    monitor_mode = "min"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        self.scores = nn.ModuleDict()
        self._shown: list[tuple[Tensor, Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """Makes a score for each simple model that the data bring along."""
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        self.simple = tuple(getattr(data, "baselines", ()))
        for split in ("val", "test"):
            for kind in ("error", *self.simple):
                if f"{split}_{kind}" not in self.scores:
                    self.scores[f"{split}_{kind}"] = MeanMetric()

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Returns the loss."""
        loss = relative_error(self._ask(batch), batch["y"], batch["valid"][..., None]).mean()
        size = len(batch["y"])
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        return self.with_penalties(loss)

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def on_test_epoch_start(self) -> None:
        """Forgets what was shown of the last test."""
        self._shown = []

    def test_step(self, batch: dict[str, Any], index: int) -> None:
        """Adds a batch to the scores."""
        found = self._score(batch, "test")
        for item in range(min(len(found), SHOWN - len(self._shown))):
            real = batch["valid"][item]
            parts = (batch["points"][item], batch["y"][item, :, 0], found[item, :, 0].float())
            points, truth, answer = (part[real].cpu() for part in parts)
            self._shown.append((points, truth, answer))

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Returns the solution."""
        return self._ask(batch)

    def draw(self, split: str) -> None:
        """Draws solutions of the test part in the plane."""
        if split != "test" or self.pictures is None or not self._shown:
            return
        items = [(at.numpy(), truth.numpy(), said.numpy()) for at, truth, said in self._shown]
        if items[0][0].shape[1] == 2:
            save_figure(points_figure(items), self.pictures / "test_points.png")

    def _ask(self, batch: dict[str, Any]) -> Tensor:
        return self.backbone(
            batch["points"], batch["sets"], valid=batch["valid"], set_valid=batch["set_valid"]
        )

    def _score(self, batch: dict[str, Any], split: str) -> Tensor:
        found = self._ask(batch)
        valid = batch["valid"][..., None]
        answers = {"error": found}
        for place, name in enumerate(self.simple):
            answers[name] = batch["baselines"][..., place : place + 1]
        for name, answer in answers.items():
            errors = relative_error(answer, batch["y"], valid)
            score: Any = self.scores[f"{split}_{name}"]
            score.update(errors.mean(), len(errors))
            self.log(f"{split}_{name}", score, prog_bar=name == "error", batch_size=len(errors))
        return found
