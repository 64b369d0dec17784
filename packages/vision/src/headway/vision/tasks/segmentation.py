"""Semantic segmentation."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.training import Passed, Task, TrainingOptions
from headway.vision.metrics.overlap import MaskOverlap

Batch = tuple[Tensor, Tensor]


class Segmentation(Task):
    """Trains a model that gives each pixel the logits of its classes.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss``, ``miou``, ``accuracy`` and the IoU of each
    class, ``iou_CLASS``; a class that is nowhere has none.

    Args:
        backbone: The model, (B, 3, H, W) to (B, classes, H, W).
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is pictures, (B, 3, H, W), and the class of each pixel, (B, H, W).
    """

    def __init__(self, *, backbone: nn.Module, **training: Passed[TrainingOptions]) -> None:
        super().__init__(backbone=backbone, **training)
        self.monitor = "val_miou"
        self.monitor_mode = "max"
        self.ignore = 255
        self.scores = nn.ModuleDict()

    def setup(self, stage: str) -> None:
        """Compares the classes of data and model, and makes the metrics."""
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        known: Any = self.backbone.num_classes
        if data is not None:
            self.ignore = data.ignore
            if data.num_classes != known:
                raise UserError(
                    f"the data have {data.num_classes} classes and the model answers for {known}; "
                    f"set the model's num_classes to {data.num_classes}"
                )
        for split in ("val", "test"):
            self.scores[split] = MaskOverlap(num_classes=known, ignore=self.ignore)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Returns the loss."""
        loss = self._loss(self.backbone(batch[0]), batch[1])
        options = {"on_step": False, "on_epoch": True, "batch_size": len(batch[0])}
        self.log("train_loss", loss, prog_bar=True, **options)
        return self.with_penalties(loss)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: Batch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Logs the scores of the validation."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Logs the scores of the test."""
        self._log_scores("test")

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        # A batch in which no pixel counts has the loss 0, not NaN.
        total = F.cross_entropy(logits, labels, ignore_index=self.ignore, reduction="sum")
        return total / (labels != self.ignore).sum().clamp_min(1)

    def _score(self, batch: Batch, split: str) -> None:
        logits = self.backbone(batch[0])
        self.log(f"{split}_loss", self._loss(logits, batch[1]), batch_size=len(batch[0]))
        metric: Any = self.scores[split]
        metric.update(logits.argmax(1), batch[1])

    def _log_scores(self, split: str) -> None:
        metric: Any = self.scores[split]
        scores = metric.compute()
        metric.reset()
        self.log(f"{split}_miou", scores["miou"], prog_bar=True)
        self.log(f"{split}_accuracy", scores["accuracy"])
        data: Any = getattr(self.trainer, "datamodule", None)
        for name, iou in zip(data.classes if data else (), scores["iou"], strict=False):
            if not iou.isnan():
                self.log(f"{split}_iou_{name}", iou)
