"""A data module of pictures with boxes in whatever format they lie there."""

from pathlib import Path

from headway.core.training import Passed
from headway.core.training.invalid import InvalidItems
from headway.vision.data.boxed_images import BoxedImages
from headway.vision.data.coco import BoxFormat
from headway.vision.data.detection import DetectionData, DetectionOptions
from headway.vision.data.layouts import Format, read_layout, recognise, unwrapped


class DetectionFolder(DetectionData):
    """A folder of pictures and annotations as it lies there: COCO's, Pascal VOC's or YOLO's format.

    Pictures may lie beside the annotations, or in folders beside theirs. Splits are those that files or
    folders are called after (``train2017``, ``instances_val.json``, ``valid``), that ``ImageSets/Main`` lists
    or that a .yaml file of YOLO names. Where there is no ``val``, it is drawn; ``test`` may be missing. What
    each format says about objects that are crowds or difficult, and where sizes come from, stands with
    ``COCODetection``, ``VOCDetection`` and ``headway.vision.data.yolo``.

    Args:
        path: The folder; or COCO's .json or YOLO's .yaml file.
        val: Share (float) or number (int) of the training pictures that are drawn for validation where
            no split is called so; 0 for none.
        format: Of the annotations: ``coco``, ``voc`` or ``yolo``; by default that of its files.
        boxes: What the numbers of COCO's bbox are, as for ``COCODetection``.
        **detection: As of every ``DetectionData``: batch_size, augment, shortest, longest, mean, std,
            class_names, limit, on_invalid, and of every ``DataModule``.
    """

    def __init__(
        self,
        *,
        path: str,
        val: int | float = 0.1,
        format: Format | None = None,
        boxes: BoxFormat | None = None,
        **detection: Passed[DetectionOptions],
    ) -> None:
        super().__init__(**detection)
        self.path, self.val = path, val
        self.format: Format | None = format
        self.boxes: BoxFormat | None = boxes

    def read(self, invalid: InvalidItems) -> dict[str, BoxedImages]:
        """Reads the splits."""
        path = unwrapped(Path(self.path).expanduser())
        format = self.format or recognise(path)
        parts = read_layout(path, format, invalid, self.class_names, self.boxes)
        if "val" not in parts:
            parts |= self.draw_val(parts["train"], self.val)
        return parts
