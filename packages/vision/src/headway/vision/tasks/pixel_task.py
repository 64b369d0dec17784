"""What tasks share whose models give each pixel a class: scores, tables and pictures."""

from abc import abstractmethod
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.files import atomic_write, save_figure, write_csv
from headway.core.training import Passed, Task, TrainingOptions
from headway.vision.data.mask_classes import MaskClasses
from headway.vision.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from headway.vision.drawing import sheet
from headway.vision.mask_drawing import draw_mask
from headway.vision.metrics.overlap import COLUMNS, MaskOverlap, class_overlaps, overlap_figure

SHOWN = 4
"""Pictures of the validation that are drawn."""


class PixelTask(Task):
    """Scores what gives each pixel a class; a subclass says what is learned and what the model answers.

    It logs, for ``val`` and ``test``, ``miou``, ``accuracy`` and the IoU of each class, ``iou_CLASS``; a
    class that is nowhere has none. ``val_per_class`` and ``test_per_class`` are a table and a picture of
    them, ``val_masks.png`` shows some pictures with what is true beside the answer.

    Args:
        backbone: The model; ``num_classes`` says for how many it answers.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.
    """

    def __init__(self, *, backbone: nn.Module, **training: Passed[TrainingOptions]) -> None:
        super().__init__(backbone=backbone, **training)
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
            self.ignore = getattr(data, "ignore", self.ignore)
            if data.num_classes != known:
                raise UserError(
                    f"the data have {data.num_classes} classes and the model answers for {known}; "
                    f"set the model's num_classes to {data.num_classes}"
                )
        for split in ("val", "test"):
            self.scores[split] = self.make_scores(data)

    def make_scores(self, data: Any) -> nn.Module:
        """Returns what the answers are scored with.

        Args:
            data: The data; None for a model that is only asked.
        """
        known: Any = self.backbone.num_classes
        return MaskOverlap(num_classes=known, ignore=self.ignore)

    @abstractmethod
    def _score(self, batch: Any, split: str) -> None:
        """Logs the loss of a batch and adds it to the scores."""

    def validation_step(self, batch: Any, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: Any, index: int) -> None:
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

    def seen(self, batch: tuple[Tensor, Tensor], predicted: Tensor, split: str) -> None:
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
