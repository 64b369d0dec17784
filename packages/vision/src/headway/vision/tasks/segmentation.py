"""Semantic segmentation."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.training import Passed, TrainingOptions
from headway.vision.tasks.pixel_task import PixelTask

Batch = tuple[Tensor, Tensor]


class Segmentation(PixelTask):
    """Trains a model that gives each pixel the logits of its classes.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss``, ``miou``, ``accuracy`` and the IoU of each
    class, ``iou_CLASS``; a class that is nowhere has none. ``val_per_class`` and ``test_per_class`` are a
    table and a picture of them, ``val_masks.png`` shows some pictures with what is true beside the answer.

    Args:
        backbone: The model, (B, 3, H, W) to (B, classes, H, W).
        class_weights: What a pixel of each class counts in the loss: a number for each class, or
            ``balanced``, which gives all classes of the training masks the same weight in all; 1 if None.
        label_smoothing: Share of the target that is spread over all classes.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is pictures, (B, 3, H, W), and the class of each pixel, (B, H, W).
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        class_weights: Literal["balanced"] | Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing is {label_smoothing}; it lies in [0, 1)")
        known: Any = getattr(backbone, "num_classes", None)
        if not (class_weights is None or isinstance(class_weights, str)) and (
            len(class_weights) != known or not all(0 <= one < 1e6 for one in class_weights)
        ):
            raise UserError(
                f"class_weights {list(class_weights)[:8]} must be {known} numbers from 0 on, one for each "
                "class"
            )
        self.class_weights, self.label_smoothing = class_weights, label_smoothing
        self.weights: Tensor | None = None

    def setup(self, stage: str) -> None:
        """Compares the classes of data and model, and makes metrics and weights."""
        super().setup(stage)
        self.weights = self._weights(getattr(self.trainer, "datamodule", None))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Returns the loss."""
        loss = self._loss(self.backbone(batch[0]), batch[1])
        options = {"on_step": False, "on_epoch": True, "batch_size": len(batch[0])}
        self.log("train_loss", loss, prog_bar=True, **options)
        return self.with_penalties(loss)

    def _weights(self, data: Any) -> Tensor | None:
        # Without data, a model is only asked.
        if self.class_weights is None or data is None:
            return None
        if not isinstance(self.class_weights, str):
            return torch.tensor(self.class_weights, dtype=torch.float32)
        pixels = getattr(data, "class_pixels", None)
        if pixels is None:
            raise UserError(
                "class_weights is balanced, and the data do not count the pixels of their classes; give "
                "numbers"
            )
        counts = torch.as_tensor(pixels, dtype=torch.float64)
        there = counts > 0
        balanced = counts.sum() / (there.sum() * counts.clamp_min(1))
        return torch.where(there, balanced, 1.0).float()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = None if self.weights is None else self.weights.to(logits)
        options: dict[str, Any] = {"ignore_index": self.ignore, "weight": weights}
        total = F.cross_entropy(
            logits, labels, reduction="sum", label_smoothing=self.label_smoothing, **options
        )
        counted = labels != self.ignore
        share = counted if weights is None else weights[labels.clamp_min(0)] * counted
        # A batch in which no pixel counts has the loss 0, not NaN.
        return total / share.sum().clamp_min(1e-6)

    def _score(self, batch: Batch, split: str) -> None:
        logits = self.backbone(batch[0])
        self.log(f"{split}_loss", self._loss(logits, batch[1]), batch_size=len(batch[0]))
        self.seen(batch, logits.argmax(1), split)
