"""Imputation: finding values again that are missing in a window."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.timeseries.figures import imputation_figure
from headway.timeseries.layers import interpolated, observed_statistics
from headway.timeseries.models.reconstruction import check_reconstructs, reconstruct
from headway.timeseries.tasks.scores import known_mean

SHOWN = 3
GUESSES = ("", "_linear", "_mean")
KINDS = tuple(f"{kind}{guess}" for kind in ("mse", "mae") for guess in GUESSES)


class ImputeSeries(Task):
    """Trains a forecaster whose horizon is the length of its window to find hidden values again.

    It logs ``train_loss``, the squared error of hidden values, and for ``val`` and ``test`` ``mse`` and
    ``mae`` of the hidden values, scaled, over all windows and ratios; the test also for each ratio
    (``test_mse_at_0.25``). What straight lines between the known values (``mse_linear``) and their mean
    (``mse_mean``) miss of the same hidden values stands beside each of them. Values that are missing in the
    file count nowhere.

    Args:
        backbone: A forecaster whose horizon is its context length.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a dictionary as ``HiddenWindows`` makes it.
    """

    monitor = "val_mse"
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
        """Checks that the model can answer with the windows of the data."""
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        check_reconstructs(self.backbone, getattr(data, "length", None))
        ratios = [f"_at_{ratio:g}" for ratio in getattr(data, "ratios", ())]
        for split, ends in (("val", [""]), ("test", ["", *ratios])):
            for kind in KINDS:
                for end in ends:
                    self.scores[_key(f"{split}_{kind}{end}")] = MeanMetric()

    def preprocessing(self) -> dict[str, Any]:
        """Returns what the data module says, and what the model is for."""
        return {**super().preprocessing(), "task": "imputation"}

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the loss."""
        error = torch.square(self._answer(batch) - batch["x"])
        loss, _ = known_mean(error, batch["hidden"])
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return self.with_penalties(loss)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores, and to those of each ratio."""
        answer = self._score(batch, "test")
        if len(self._shown) < SHOWN:
            # The last of a batch: the highest ratio of its window.
            x = batch["x"][-1].clone()
            if "mask" in batch:
                x[~batch["mask"][-1]] = torch.nan
            hidden, found = batch["hidden"][-1].cpu(), answer[-1].float().cpu()
            self._shown.append((x.cpu(), hidden, found))

    def predict_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns scaled reconstructions."""
        return self._answer(batch)

    def on_test_epoch_start(self) -> None:
        """Forgets the windows of the last test."""
        self._shown = []

    def draw(self, split: str) -> None:
        """Draws hidden values and what was found in their place."""
        data: Any = getattr(self.trainer, "datamodule", None)
        names = getattr(data, "series", None)
        if split != "test" or self.pictures is None or not self._shown or names is None:
            return
        windows = [tuple(part.numpy() for part in window) for window in self._shown]
        save_figure(imputation_figure(windows, names), self.pictures / "test_imputation.png")

    def _answer(self, batch: dict[str, Tensor]) -> Tensor:
        known = _observed(batch)
        x = batch["x"].masked_fill(~known, 0.0)
        return reconstruct(self.backbone, x, mask=known, marks=batch.get("marks"))

    def _score(self, batch: dict[str, Tensor], split: str) -> Tensor:
        answer = self._answer(batch)
        known = _observed(batch)
        mean, _ = observed_statistics(batch["x"], known)
        guesses = (answer, interpolated(batch["x"], known), mean)
        ratios = batch["ratio"].unique().tolist() if split == "test" else []
        for guess, ending in zip(guesses, GUESSES, strict=True):
            error = guess - batch["x"]
            for kind, values in (("mse", error.square()), ("mae", error.abs())):
                name = f"{split}_{kind}{ending}"
                self._add(name, values, batch["hidden"])
                for ratio in ratios:
                    chosen = batch["ratio"] == ratio
                    self._add(f"{name}_at_{ratio:g}", values[chosen], batch["hidden"][chosen])
        return answer

    def _add(self, name: str, values: Tensor, hidden: Tensor) -> None:
        score: Any = self.scores[_key(name)]
        score.update(*known_mean(values, hidden))
        shown = name.endswith(("mse", "mae"))
        self.log(name, score, on_step=False, on_epoch=True, prog_bar=shown, batch_size=len(values))


def _key(name: str) -> str:
    """Returns a name without dots, which a dictionary of modules does not take."""
    return name.replace(".", "_")


def _observed(batch: dict[str, Tensor]) -> Tensor:
    """Returns True where a value is known and not hidden."""
    known = ~batch["hidden"]
    return known & batch["mask"] if "mask" in batch else known
