"""Files that ``headway export`` wrote, in the place of the models that they came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cli.device import choose_device
from headway.core.errors import InputError, UserError, one_line
from headway.core.reading import check_file, parse_json
from headway.core.weights.preprocessing import note, reading_note
from headway.vision.data.box_transforms import DetectionPreprocessing
from headway.vision.data.mask_classes import MaskClasses
from headway.vision.data.mask_preprocessing import SegmentationPreprocessing
from headway.vision.models.detections import in_pixels
from headway.vision.verbs.loading import (
    Classifier,
    Detector,
    as_classifier,
    check_names,
    load_classifier,
    load_detector,
    names_of,
)
from headway.vision.verbs.segmenting import LoadedSegmenter, load_segmenter

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def classifier_from(source: str, device: str | None = None) -> Classifier:
    """Loads a classifier, or its ONNX file.

    Raises:
        UserError: If the file is damaged, not of ``headway export``, or answers something else.
    """
    if not _is_graph(source):
        return load_classifier(source, device)
    graph, notes = _open(source, device)
    if notes.get("task") is not None:
        raise UserError(
            f"{source} holds a graph for {notes['task']}, which has no class for a whole picture"
        )
    with reading_note("what it says about pictures", source):
        return as_classifier(graph, notes, "cpu")


def detector_from(source: str, device: str | None = None) -> "Detector | ExportedDetector":
    """Loads a detector, or its ONNX file.

    Raises:
        UserError: If the file is damaged, not of ``headway export``, or answers something else.
    """
    if not _is_graph(source):
        return load_detector(source, device)
    graph, notes = _open(source, device)
    if notes.get("task") != "detection":
        raise UserError(f"{source} holds a graph which finds no objects; use headway predict")
    with reading_note("what it says about pictures", source):
        check_names(notes)
        preprocessing = ExportedPreprocessing.from_notes(notes, source)
        classes, ids = names_of(notes, len(notes.get("classes") or ()), source)
    return ExportedDetector(
        graph=graph, preprocessing=preprocessing, classes=classes, category_ids=ids
    )


def segmenter_from(source: str, device: str | None = None) -> "LoadedSegmenter | ExportedSegmenter":
    """Loads a segmenter, or its ONNX file.

    Raises:
        UserError: If the file is damaged, not of ``headway export``, or answers something else.
    """
    if not _is_graph(source):
        return load_segmenter(source, device)
    graph, notes = _open(source, device)
    if notes.get("task") != "segmentation":
        raise UserError(
            f"{source} holds a graph which gives pixels no class; use headway predict or headway detect"
        )
    with reading_note("what it says about pictures", source):
        preprocessing = SegmentationPreprocessing.from_cfg({**notes, **_sides(notes, source)})
        classes = MaskClasses.from_cfg(notes, len(notes.get("classes") or ()), source)
    return ExportedSegmenter(graph=graph, preprocessing=preprocessing, classes=classes)


class OnnxGraph(nn.Module):
    """A graph of onnxruntime, called as a module is; it holds no parameters and is not trained.

    Args:
        session: Of the file.
    """

    def __init__(self, session: "InferenceSession") -> None:
        super().__init__()
        self.session = session

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Returns the output, or all outputs in their order, on the CPU."""
        found = self.session.run(None, {"images": images.cpu().numpy()})
        tensors = tuple(torch.from_numpy(one) for one in found)
        return tensors[0] if len(tensors) == 1 else tensors


@dataclass(frozen=True, kw_only=True)
class ExportedPreprocessing(DetectionPreprocessing):
    """What a picture goes through before an exported detector sees it.

    Args:
        height: The one height of pictures that the graph takes; any if None.
        width: The one width; any if None.
        least: Pixels that a side has at least; shorter ones are stretched (boxes are shares of the picture).
    """

    height: int | None = None
    width: int | None = None
    least: int = 1

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any], source: str) -> Self:
        """Reads what stands in the graph about its input."""
        return cls.from_cfg({**notes, **_sides(notes, source)})

    def size(self, height: int, width: int, shortest: int | None = None) -> tuple[int, int]:
        """Returns height and width of a picture after the resize."""
        sides = super().size(height, width, shortest)
        fixed = (self.height, self.width)
        return tuple(  # pyright: ignore[reportReturnType]
            wanted or max(side, self.least) for wanted, side in zip(fixed, sides, strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class ExportedDetector:
    """An exported detector ready to find objects; to those who ask, what ``Detector`` is.

    Args:
        graph: Pictures of one size to scores, labels and corners of each query.
        preprocessing: What a picture goes through.
        classes: Names of the classes.
        category_ids: Their ids in COCO's format.
    """

    graph: OnnxGraph
    preprocessing: ExportedPreprocessing
    classes: tuple[str, ...]
    category_ids: tuple[int | str, ...]

    def found(self, images: Tensor, sizes: Tensor, original: Tensor) -> list[dict[str, Tensor]]:
        """Returns scores, labels and boxes (left, top, right, bottom in pixels of the original).

        Shape:
            images: (B, C, H, W). sizes: (B, 2), of the pictures in it. original: (B, 2), on the disk.
        """
        answers: list[dict[str, Tensor]] = [{} for _ in images]
        # The graph takes the whole batch for picture: those of one size go together.
        for size in {tuple(one) for one in sizes.tolist()}:
            height, width = size
            rows = [row for row, one in enumerate(sizes.tolist()) if tuple(one) == size]
            scores, labels, shares = self.graph(images[rows, :, :height, :width].contiguous())
            for place, row in enumerate(rows):
                answers[row] = {
                    "scores": scores[place],
                    "labels": labels[place],
                    "boxes": in_pixels(shares[place], original[row]),
                }
        return answers


@dataclass(frozen=True, kw_only=True)
class ExportedSegmenter:
    """An exported segmenter; to those who ask, what ``LoadedSegmenter`` is.

    Args:
        graph: Pictures of one size to the scores of their pixels.
        preprocessing: What a picture goes through.
        classes: The classes of pixels.
    """

    graph: OnnxGraph
    preprocessing: SegmentationPreprocessing
    classes: MaskClasses

    def scores(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns the scores of pictures of one size, at a size."""
        scores = self.graph(images)
        assert isinstance(scores, Tensor)
        if scores.shape[2:] == size:
            return scores
        return F.interpolate(scores, size, mode="bilinear", align_corners=False)


def _sides(notes: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Returns what a graph says of its input: the one height and width, or the least of any."""
    takes = note(notes, "input", dict, source) or {}
    shape = note(takes, "shape", list, source) or ()
    if len(shape) != 4:
        raise UserError(f"input has shape {list(shape)}, expected 4 entries")
    height, width = (side if isinstance(side, int) else None for side in shape[2:])
    found = {"least": takes.get("least")}
    return found if height is None else {**found, "height": height, "width": width}


def _is_graph(source: str) -> bool:
    if Path(source).suffix == ".pt2":
        # Loading one runs what its file says.
        raise UserError(
            f"{source} is a program of torch.export, which headway writes and does not read; export to .onnx"
        )
    return Path(source).suffix == ".onnx"


def _open(source: str, device: str | None) -> tuple[OnnxGraph, dict[str, Any]]:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            f'{source} needs onnxruntime, not installed: pip install "headway[export]"'
        ) from None
    check_file(source, "graph")
    providers = ["CPUExecutionProvider"]
    if choose_device(device).type == "cuda":
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, "CUDAExecutionProvider")
        elif device != "auto" and device is not None:
            raise UserError(
                f"--device {device} needs onnxruntime-gpu; this onnxruntime has cpu alone"
            )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # its errors come as exceptions, too
    try:
        session = onnxruntime.InferenceSession(source, options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common class
        raise InputError(source, f"cannot be read as ONNX: {one_line(error)}") from None
    text = session.get_modelmeta().custom_metadata_map.get("headway")
    if text is None:
        raise InputError(
            source, "says nothing about its pictures and classes; write it with headway export"
        )
    notes = parse_json(text, source)
    if not isinstance(notes, dict):
        raise InputError(
            source, f"holds {notes!r:.80} in the place of its notes, expected a mapping"
        )
    return OnnxGraph(session), notes
