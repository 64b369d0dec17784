"""Masks with a class each."""

from collections.abc import Callable

import torch
from torch import Tensor

from headway.core.training import Passed, TrainingOptions
from headway.vision.models.mask_segmenter import MaskSegmenter
from headway.vision.models.masks import semantic
from headway.vision.tasks.counted import CountedTask
from headway.vision.tasks.focal_mask_loss import FocalMaskLoss
from headway.vision.tasks.mask_loss import MaskLoss
from headway.vision.tasks.point_loss import PointMaskLoss
from headway.vision.tasks.segmentation import Batch, Segmentation

# What mask classifiers are trained with, under the names that they give.
MASK_LOSSES: dict[str, Callable[[], MaskLoss]] = {"focal": FocalMaskLoss, "points": PointMaskLoss}


class MaskClassification(Segmentation, CountedTask):
    """Trains a mask classifier with the classes of pixels: all pixels of a class are one mask.

    It logs what ``Segmentation`` logs, and ``train_classes``, ``train_masks`` and ``train_dice``, the parts
    of the loss. Losses are divided by the masks of a batch, of all batches where gradients are accumulated,
    and of all ranks.

    Args:
        backbone: A mask classifier.
        loss: ``PointMaskLoss`` or ``FocalMaskLoss``; that of the model if None.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is pictures, (B, 3, H, W), and the class of each pixel, (B, H, W).
    """

    def __init__(
        self,
        *,
        backbone: MaskSegmenter,
        loss: MaskLoss | None = None,
        **training: Passed[TrainingOptions],
    ) -> None:
        # Its loss weighs masks, not pixels.
        super().__init__(backbone=backbone, class_weights=None, label_smoothing=0.0, **training)
        self.loss = MASK_LOSSES[backbone.loss]() if loss is None else loss

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Returns the loss."""
        masks, labels = masks_of_classes(batch[1], ignore=self.ignore)
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

    def _score(self, batch: Batch, split: str) -> None:
        images, ids = batch
        found = self.backbone(images)
        loss = self.loss(found, *masks_of_classes(ids, ignore=self.ignore)).total
        self.log(f"{split}_loss", loss, batch_size=len(images))
        predicted = semantic(found, (ids.shape[1], ids.shape[2])).argmax(1)
        self.seen(batch, predicted, split)


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
