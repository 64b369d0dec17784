"""Object detection."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.files import atomic_write, save_figure, write_csv
from headway.core.training import Passed, TrainingOptions
from headway.vision.data.detection_batch import DetectionBatch
from headway.vision.drawing import draw_boxes, sheet
from headway.vision.metrics.average_precision import (
    COLUMNS,
    SCORES,
    AveragePrecision,
    class_figure,
    class_scores,
)
from headway.vision.models.detections import found_objects, to_corners
from headway.vision.models.detector import ObjectDetector
from headway.vision.tasks.aligned_loss import AlignedLoss
from headway.vision.tasks.counted import CountedTask
from headway.vision.tasks.detection_loss import DetectionLoss
from headway.vision.tasks.fine_loss import FineLoss
from headway.vision.tasks.focal_loss import FocalLoss
from headway.vision.tasks.set_loss import SetLoss
from headway.vision.tasks.varifocal_loss import VarifocalLoss

SHOWN = 4
# What detectors are trained with, under the names that they give.
LOSSES: dict[str, Callable[[], SetLoss]] = {
    "aligned": AlignedLoss,
    "cross_entropy": DetectionLoss,
    "fine": FineLoss,
    "focal": FocalLoss,
    "varifocal": VarifocalLoss,
}


class ObjectDetection(CountedTask):
    """Trains a detector.

    It logs ``train_loss`` with its parts and, for ``val`` and ``test``, ``loss`` and the scores of COCO:
    ``map``, ``map_50``, ``map_75``, those of small, medium and large objects, and ``mar_100``. The run's
    ``pictures`` folder gets the scores of each class as a table and a picture (``val_per_class``,
    ``test_per_class``), and some pictures of the last validation with what was found. ``layer_decay`` is the
    ratio of the learning rate of the detector's backbone to that of the rest. Losses are divided by the
    objects of a batch, of all batches where gradients are accumulated, and of all ranks.

    Args:
        backbone: A detector.
        loss: ``DetectionLoss`` for a detector that names one class of a query, ``FocalLoss``,
            ``VarifocalLoss``, ``AlignedLoss`` or ``FineLoss`` for one that scores each by itself; that of
            the detector if None.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a ``DetectionBatch``.
    """

    def __init__(
        self,
        *,
        backbone: ObjectDetector,
        loss: SetLoss | None = None,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        self.loss = LOSSES[backbone.loss]() if loss is None else loss
        self.monitor = "val_map"
        self.monitor_mode = "max"
        self.scores = nn.ModuleDict()
        self.shown: list[tuple[int, Mapping[str, Tensor]]] = []
        self.per_class: dict[str, list[dict[str, Any]]] = {}

    @property
    def model(self) -> ObjectDetector:
        """The detector."""
        assert isinstance(self.backbone, ObjectDetector)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Compares the classes of data and model, and makes the metrics."""
        super().setup(stage)
        known = self.model.num_classes
        data = getattr(getattr(self.trainer, "datamodule", None), "num_classes", None)
        if data is not None and known != data:
            raise UserError(
                f"the data have {data} classes and the model answers for {known}; "
                f"set the model's num_classes to {data}"
            )
        for split in ("val", "test"):
            self.scores[split] = AveragePrecision()

    def training_step(self, batch: DetectionBatch, index: int) -> Tensor:
        """Returns the loss."""
        # A crowd is no object that a query could learn.
        boxes = [target.boxes[~target.crowd] for target in batch.targets]
        labels = [target.labels[~target.crowd] for target in batch.targets]
        answer = self.model.taught(batch.images, batch.sizes, boxes, labels)
        losses = self.loss(answer, boxes, labels)
        for name, value in zip(losses._fields, losses, strict=True):
            self.log(
                "train_loss" if name == "total" else f"train_{name}",
                value,
                prog_bar=name == "total",
                on_step=False,
                on_epoch=True,
                batch_size=len(batch.images),
            )
        return self.counted(self.with_penalties(losses.total), labels)

    def validation_step(self, batch: DetectionBatch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: DetectionBatch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "test")

    def predict_step(self, batch: DetectionBatch, index: int) -> list[dict[str, Tensor]]:
        """Returns scores, labels and boxes of each picture."""
        sizes = torch.stack([target.size for target in batch.targets])
        return found_objects(self.backbone(batch.images, batch.sizes), sizes)

    def on_validation_epoch_start(self) -> None:
        """Forgets the pictures of the last validation."""
        self.shown = []

    def on_validation_epoch_end(self) -> None:
        """Logs the scores of the validation."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Logs the scores of the test."""
        self._log_scores("test")

    def draw(self, split: str) -> None:
        """Draws scores of each class, and some pictures of the last validation with what was found."""
        data: Any = getattr(self.trainer, "datamodule", None)
        folder = self.pictures
        if self.per_class.get(split) and folder is not None:
            rows = self.per_class[split]
            with atomic_write(folder / f"{split}_per_class.csv", "w") as file:
                write_csv(file, COLUMNS, rows)
            save_figure(class_figure(rows, split), folder / f"{split}_per_class.png")
        if split != "val" or not self.shown or folder is None or data is None:
            return
        pictures = {picture.number: picture for picture in data.parts["val"].pictures}
        drawn = [
            draw_boxes(pictures[number].read(), found, data.classes, threshold=0.5)
            for number, found in self.shown
        ]
        with atomic_write(folder / "val_detections.png") as file:
            sheet(drawn).save(file, format="PNG")

    def _score(self, batch: DetectionBatch, split: str) -> None:
        output = self.backbone(batch.images, batch.sizes)
        boxes = [target.boxes for target in batch.targets]
        labels = [target.labels for target in batch.targets]
        loss = self.loss(output, boxes, labels).total
        self.log(f"{split}_loss", loss, prog_bar=True, batch_size=len(batch.images))
        sizes = torch.stack([target.size for target in batch.targets])
        found = found_objects(output, sizes)
        wanted = [
            {
                "boxes": to_corners(target.boxes, target.size),
                "labels": target.labels,
                "iscrowd": target.crowd.long(),
            }
            for target in batch.targets
        ]
        self.scores[split].update(found, wanted)  # pyright: ignore[reportCallIssue]
        if split == "val" and len(self.shown) < SHOWN:
            numbers = [int(target.number) for target in batch.targets]
            self.shown += list(zip(numbers, found, strict=True))[: SHOWN - len(self.shown)]

    def _log_scores(self, split: str) -> None:
        metric: Any = self.scores[split]
        values = metric.compute()
        classes = self.preprocessing().get("classes") or range(self.model.num_classes)
        names = [str(name) for name in classes]
        self.per_class[split] = class_scores(values, metric.objects(), names)
        metric.reset()
        for name in SCORES:
            # -1 means that there are no objects of this kind.
            if values[name] >= 0:
                self.log(f"{split}_{name}", values[name].float(), prog_bar=name in SCORES[:2])
