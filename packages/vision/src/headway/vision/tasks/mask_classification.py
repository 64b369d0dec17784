"""Masks with a class each."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.training import Passed, TrainingOptions
from headway.vision.data.mask_batch import MaskBatch
from headway.vision.models.mask_segmenter import MaskSegmenter
from headway.vision.models.masks import semantic
from headway.vision.tasks.counted import CountedTask
from headway.vision.tasks.focal_mask_loss import FocalMaskLoss
from headway.vision.tasks.mask_loss import MaskLoss
from headway.vision.tasks.mask_scores import SCORES_OF, InstanceScores, PanopticScores
from headway.vision.tasks.pixel_task import PixelTask
from headway.vision.tasks.point_loss import PointMaskLoss

# What mask classifiers are trained with, under the names that they give.
MASK_LOSSES: dict[str, Callable[[], MaskLoss]] = {"focal": FocalMaskLoss, "points": PointMaskLoss}
# Pictures and the class of each pixel.
PixelBatch = tuple[Tensor, Tensor]


class MaskClassification(PixelTask, CountedTask):
    """Trains a mask classifier with classes of pixels, objects, or segments.

    Where data give pixels their classes (``SegmentationFolder``), all pixels of a class are one mask. It logs
    ``train_loss`` with its parts and, for ``val`` and ``test``, ``loss`` and what the data ask for: what
    ``Segmentation`` logs and draws; COCO's ``map`` and its siblings of the masks of objects; or
    ``pq``, ``sq``, ``rq`` and ``pq_CLASS`` of segments. Losses are divided by the masks of a batch, of all
    batches where gradients are accumulated, and of all ranks.

    Args:
        backbone: A mask classifier.
        loss: ``PointMaskLoss`` or ``FocalMaskLoss``; that of the model if None.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is pictures, (B, 3, H, W), and the class of each pixel, (B, H, W); or a ``MaskBatch``.
    """

    def __init__(
        self,
        *,
        backbone: MaskSegmenter,
        loss: MaskLoss | None = None,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        self.loss = MASK_LOSSES[backbone.loss]() if loss is None else loss

    def make_scores(self, data: Any) -> nn.Module:
        """Returns what the answers are scored with: pixels, objects or segments, as the data say."""
        kind = SCORES_OF.get(getattr(data, "kind", ""))
        if kind is None:
            return super().make_scores(data)
        self.monitor = f"val_{kind.best}"
        known: Any = self.backbone.num_classes
        return kind(data, known)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tells the model how much of its training is over."""
        model: Any = self.backbone
        steps = self.trainer.estimated_stepping_batches
        known = math.isfinite(steps) and steps > 0
        model.prepare_step(min(1.0, self.trainer.global_step / steps) if known else 0.0)

    def training_step(self, batch: PixelBatch | MaskBatch, index: int) -> Tensor:
        """Returns the loss."""
        masks, labels = self._wanted(batch)
        losses = self.loss(self.backbone(batch[0]), masks, labels)
        for name, value in zip(losses._fields, losses, strict=True):
            self.log(
                "train_loss" if name == "total" else f"train_{name}",
                value,
                prog_bar=name == "total",
                on_step=False,
                on_epoch=True,
                batch_size=len(batch[0]),
            )
        return self.counted(self.with_penalties(losses.total), labels)

    def _wanted(self, batch: PixelBatch | MaskBatch) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the masks that queries shall find, and their classes."""
        if not isinstance(batch, MaskBatch):
            return masks_of_classes(batch[1], ignore=self.ignore)
        # A crowd is no object that a query could learn.
        masks = [one.masks[~one.crowd] for one in batch.targets]
        return masks, [one.labels[~one.crowd] for one in batch.targets]

    def _score(self, batch: PixelBatch | MaskBatch, split: str) -> None:
        found = self.backbone(batch[0])
        loss = self.loss(found, *self._wanted(batch)).total
        self.log(f"{split}_loss", loss, batch_size=len(batch[0]))
        if isinstance(batch, MaskBatch):
            scores: Any = self.scores[split]
            scores.add(found, batch.targets)
            return
        size = (batch[1].shape[1], batch[1].shape[2])
        self.seen(batch, semantic(found, size).argmax(1), split)

    def _log_scores(self, split: str) -> None:
        scores: Any = self.scores[split]
        if not isinstance(scores, InstanceScores | PanopticScores):
            super()._log_scores(split)
            return
        for name, value in scores.values().items():
            self.log(f"{split}_{name}", value, prog_bar=name == scores.best)
        scores.metric.reset()


def masks_of_classes(ids: Tensor, *, ignore: int) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the mask of each class that a picture has, and the classes.

    Pixels that do not count belong to no mask.

    Args:
        ids: The class of each pixel.
        ignore: Label of pixels that do not count.

    Shape:
        ids: (B, H, W). Output: per picture (N, H, W) bool and (N,).
    """
    masks, labels = [], []
    for one in ids:
        there = torch.unique(one)
        there = there[there != ignore]
        masks.append(one == there[:, None, None])
        labels.append(there)
    return masks, labels
