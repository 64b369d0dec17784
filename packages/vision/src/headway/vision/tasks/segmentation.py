"""Semantic segmentation."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.files import atomic_write, save_figure, write_csv
from headway.core.training import Passed, Task, TrainingOptions
from headway.vision.data.mask_classes import MaskClasses
from headway.vision.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from headway.vision.drawing import sheet
from headway.vision.mask_drawing import draw_mask
from headway.vision.metrics.overlap import COLUMNS, MaskOverlap, class_overlaps, overlap_figure

Batch = tuple[Tensor, Tensor]

SHOWN = 4
"""Pictures of the validation that are drawn."""


class Segmentation(Task):
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
        self.monitor = "val_miou"
        self.monitor_mode = "max"
        self.ignore = 255
        self.scores = nn.ModuleDict()
        self.shown: list[tuple[Tensor, ...]] = []
        self.looked_at, self.apart = 0, 1
        self.per_class: dict[str, list[dict[str, Any]]] = {}

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
        self.weights = self._weights(data)
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

    def on_validation_epoch_start(self) -> None:
        """Forgets the pictures of the last validation."""
        self.shown, self.looked_at, self.apart = [], 0, 1

    def on_validation_epoch_end(self) -> None:
        """Logs the scores of the validation."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Logs the scores of the test."""
        self._log_scores("test")

    def draw(self, split: str) -> None:
        """Draws the scores of each class, and some pictures of the last validation beside what is true."""
        folder = self.pictures
        if folder is None:
            return
        if self.per_class.get(split):
            rows = self.per_class[split]
            with atomic_write(folder / f"{split}_per_class.csv", "w") as file:
                write_csv(file, COLUMNS, rows)
            save_figure(overlap_figure(rows, split), folder / f"{split}_per_class.png")
        if split != "val" or not self.shown:
            return
        notes = self.preprocessing()
        known: Any = self.backbone.num_classes
        classes = MaskClasses.from_cfg(notes, known, "the run")
        drawn = []
        number = min(SHOWN, len(self.shown))
        for image, true, found in (
            self.shown[k * len(self.shown) // number] for k in range(number)
        ):
            picture = _picture(image, notes)
            for labels, title in ((true, "true"), (found, "found")):
                places = torch.where(labels == self.ignore, -1, labels).numpy()
                drawn.append(draw_mask(picture, places, classes, title=title))
        with atomic_write(folder / "val_masks.png") as file:
            sheet(drawn).save(file, format="PNG")

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

    def seen(self, batch: Batch, predicted: Tensor, split: str) -> None:
        """Adds the answer to a batch to the scores, and to what is drawn.

        Args:
            batch: Pictures and the class of each pixel.
            predicted: The class that each pixel got.
            split: ``val`` or ``test``.
        """
        metric: Any = self.scores[split]
        metric.update(predicted, batch[1])
        if split != "val":
            return
        for triple in zip(*batch, predicted, strict=True):
            if self.looked_at % self.apart == 0:
                self.shown.append(tuple(one.detach().cpu() for one in triple))
            self.looked_at += 1
            if len(self.shown) == 2 * SHOWN:
                # Neighbours are often frames of one film: those that are kept stay evenly spread.
                self.shown, self.apart = self.shown[::2], 2 * self.apart

    def _log_scores(self, split: str) -> None:
        metric: Any = self.scores[split]
        scores = metric.compute()
        data: Any = getattr(self.trainer, "datamodule", None)
        names = [str(name) for name in (data.classes if data else range(len(scores["iou"])))]
        self.per_class[split] = class_overlaps(scores["matrix"], names)
        metric.reset()
        self.log(f"{split}_miou", scores["miou"], prog_bar=True)
        self.log(f"{split}_accuracy", scores["accuracy"])
        for name, iou in zip(data.classes if data else (), scores["iou"], strict=False):
            if not iou.isnan():
                self.log(f"{split}_iou_{name}", iou)


def _picture(image: Tensor, notes: dict[str, Any]) -> Image.Image:
    """Returns what a picture was before its colours were normalised."""
    mean, std = (
        torch.tensor(notes.get(name, usual)).view(3, 1, 1)
        for name, usual in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD))
    )
    pixels = ((image.float() * std + mean).clamp(0, 1) * 255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
