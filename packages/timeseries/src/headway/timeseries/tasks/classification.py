"""Classification of whole series."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import (
    Passed,
    Task,
    TrainingOptions,
    score_collection,
)
from headway.core.training.confusion import confusion_figure


class ClassifySeries(Task):
    """Trains ``backbone(x, lengths=, mask=) -> logits``.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss``, ``accuracy`` and ``macro_f1``. The run's
    ``pictures`` folder gets the confusion matrix of the last validation and of the test.

    Args:
        backbone: A classifier of series: ``SeriesClassifier``, ``LSFAN``, ``LMUFormer``, or any forecaster
            inside a ``ForecasterClassifier``.
        label_smoothing: Share of the target that is spread evenly.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a dictionary as ``ClassificationData`` makes it.
    """

    # Accuracy ties on validation parts as small as these.
    monitor = "val_loss"
    monitor_mode = "min"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        label_smoothing: float = 0.0,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing is {label_smoothing:g}; it lies in 0 to 1")
        self.label_smoothing = label_smoothing
        self.scores = nn.ModuleDict()
        self.confusion = nn.ModuleDict()

    def setup(self, stage: str) -> None:
        """Checks that model and data agree, and makes the metrics."""
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        for name in ("features", "num_classes"):
            own, found = getattr(self.backbone, name, None), getattr(data, name, None)
            if own is not None and found is not None and own != found:
                raise UserError(
                    f"the data have {found} {name} and the model {own}; set the model's {name} to {found}"
                )
        classes = getattr(data, "num_classes", None) or getattr(self.backbone, "num_classes", None)
        if classes is None:
            raise UserError("neither the data module nor the backbone has num_classes")
        for split in ("val", "test"):
            scores: Any = {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "macro_f1": MulticlassF1Score(classes),
            }
            self.scores[split] = score_collection(scores, prefix=f"{split}_")
            self.confusion[split] = MulticlassConfusionMatrix(classes)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the loss."""
        loss = self._loss(self._logits(batch), batch["label"], self.label_smoothing)
        size = len(batch["label"])
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        return self.with_penalties(loss)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "test")

    def predict_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the probabilities of the classes, (B, K)."""
        return self._logits(batch).softmax(dim=-1)

    def on_validation_epoch_start(self) -> None:
        """Forgets the confusion of the last validation."""
        self._matrix("val").reset()

    def on_test_epoch_start(self) -> None:
        """Forgets the confusion of the last test."""
        self._matrix("test").reset()

    def draw(self, split: str) -> None:
        """Draws the confusion matrix."""
        if split not in self.confusion or not self._matrix(split).update_called:
            return
        # On every process: what each has seen is put together.
        matrix = self._matrix(split).compute().cpu()
        if self.pictures is None:
            return
        classes = self.preprocessing().get("classes") or [str(k) for k in range(len(matrix))]
        save_figure(
            confusion_figure(matrix, classes, split), self.pictures / f"{split}_confusion.png"
        )

    def _logits(self, batch: dict[str, Tensor]) -> Tensor:
        return self.backbone(batch["x"], lengths=batch.get("lengths"), mask=batch.get("mask"))

    @staticmethod
    def _loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)

    def _score(self, batch: dict[str, Tensor], split: str) -> None:
        logits, labels = self._logits(batch), batch["label"]
        metrics: Any = self.scores[split]
        metrics.update(logits, labels)
        self._matrix(split).update(logits, labels)
        size = len(labels)
        self.log(f"{split}_loss", self._loss(logits, labels), prog_bar=True, batch_size=size)
        self.log_dict(metrics, prog_bar=True, batch_size=size)

    def _matrix(self, split: str) -> Metric:
        return self.confusion[split]  # pyright: ignore[reportReturnType]
