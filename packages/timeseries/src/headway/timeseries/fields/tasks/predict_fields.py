"""The next fields of a simulation."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.timeseries.fields.figures import film_figure, rollout_figure
from headway.timeseries.fields.metrics import relative_error
from headway.timeseries.fields.models.simulator import Persistence, Simulator, Stencil

SPLITS = ("val", "test")


class PredictFields(Task):
    """Trains ``backbone.rollout(frames, steps, conditions)`` on the relative L2 error of what follows.

    It logs ``train_loss`` and, for ``val`` and ``test``, the mean relative L2 error over all steps of the
    rollout (``error``), that of the first and of the last step (``error_first``, ``error_last``), and the
    error of the last frame that stays (``persistence``). The test adds the best linear map of the
    neighbourhood of a position, fitted to the training part by least squares (``linear``). The run's
    ``pictures`` folder gets truth, forecast and their difference, and the errors over the steps.

    Args:
        backbone: A ``Simulator``.
        radius: Positions in each direction that the linear map reads.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a dictionary: frames (B, T, C, *grid), future (B, steps, C, *grid), conditions (B, K).
    """

    monitor = "val_error"
    monitor_mode = "min"

    def __init__(
        self,
        *,
        backbone: Simulator,
        radius: int = 2,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        self.radius = radius
        kinds = ("error", "error_first", "error_last", "persistence", "linear")
        self.scores = nn.ModuleDict(
            {f"{split}_{kind}": MeanMetric() for split in SPLITS for kind in kinds}
        )
        self._linear: list[Stencil] = []  # a list: it is no part of the model
        self._curves: dict[str, list[Tensor]] = {}
        self._shown: tuple[Tensor, Tensor] | None = None

    def setup(self, stage: str) -> None:
        """Checks that the model reads as many numbers about the equation as the data tell."""
        super().setup(stage)
        equation: Any = getattr(getattr(self.trainer, "datamodule", None), "equation", None)
        wanted: Any = self.backbone.conditions
        if equation is not None and wanted not in (0, equation.conditions):
            raise UserError(
                f"the model reads {wanted} conditions and {type(equation).__name__} tells "
                f"{equation.conditions}; set the model's conditions to {equation.conditions}"
            )

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the loss."""
        loss = self._errors(self._rollout(batch), batch).mean()
        size = len(batch["frames"])
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        return self.with_penalties(loss)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def on_test_epoch_start(self) -> None:
        """Fits the linear map, and forgets what was shown of the last test."""
        self._curves, self._shown = {}, None
        data: Any = getattr(self.trainer, "datamodule", None)
        films = data.films() if hasattr(data, "films") else None
        self._linear = []
        if films is not None and films.ndim == 5:
            stencil = Stencil(fields=films.shape[2], reads=data.reads, radius=self.radius)
            self._linear = [stencil.fit(films).to(self.device)]

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        found = self._score(batch, "test")
        if self._shown is None:
            self._shown = (batch["future"][0].cpu(), found[0].float().cpu())

    def predict_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the frames that follow."""
        return self._rollout(batch)

    def draw(self, split: str) -> None:
        """Draws a forecast of the test part and the errors over the steps."""
        if split != "test" or self.pictures is None or self._shown is None:
            return
        truth, found = (part.numpy() for part in self._shown)
        save_figure(film_figure(truth, found), self.pictures / "test_fields.png")
        curves = {name: torch.cat(rows).mean(0).tolist() for name, rows in self._curves.items()}
        save_figure(rollout_figure(curves), self.pictures / "test_rollout.png")

    def _rollout(self, batch: dict[str, Tensor], model: Any = None) -> Tensor:
        model = self.backbone if model is None else model
        told = batch["conditions"] if model.conditions else None
        return model.rollout(batch["frames"], batch["future"].shape[1], told)

    @staticmethod
    def _errors(found: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Returns the error of each item and step, (B, steps)."""
        pairs = (part.flatten(0, 1) for part in (found, batch["future"]))
        return relative_error(*pairs).unflatten(0, found.shape[:2])

    def _score(self, batch: dict[str, Tensor], split: str) -> Tensor:
        found = self._rollout(batch)
        errors = {"error": self._errors(found, batch)}
        errors["persistence"] = self._errors(self._rollout(batch, Persistence()), batch)
        if split == "test" and self._linear:
            errors["linear"] = self._errors(self._rollout(batch, self._linear[0]), batch)
        kinds = {name: values.mean() for name, values in errors.items()}
        by_step = errors["error"].mean(dim=0)
        kinds |= {"error_first": by_step[0], "error_last": by_step[-1]}
        for kind, value in kinds.items():
            score: Any = self.scores[f"{split}_{kind}"]
            score.update(value, len(found))
            shown = kind in ("error", "persistence")
            self.log(f"{split}_{kind}", score, prog_bar=shown, batch_size=len(found))
        if split == "test":
            names = {"error": "model"}
            for name, values in errors.items():
                self._curves.setdefault(names.get(name, name), []).append(values.detach().cpu())
        return found
