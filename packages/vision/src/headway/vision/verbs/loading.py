"""Trained models with what their pictures must go through."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.cli.device import choose_device
from headway.core.cli.loading import load_model
from headway.core.errors import UserError
from headway.core.kinds import check_fits
from headway.core.weights import from_pretrained, read_preprocessing
from headway.core.weights.preprocessing import reading_note
from headway.vision.data.box_transforms import DetectionPreprocessing
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.models.detections import found_objects
from headway.vision.models.detector import ObjectDetector
from headway.vision.models.segmenter import Segmenter
from headway.vision.verbs.segmenting import LoadedSegmenter, as_segmenter


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A model ready to predict.

    Args:
        model: In evaluation mode, on its device.
        preprocessing: What a picture goes through.
        classes: Names of the classes; None names them by number.
        multi_label: Whether every class is decided for itself.
        device: Where the model is.
    """

    model: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    multi_label: bool
    device: torch.device

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Returns the probabilities of the classes.

        Shape:
            images: (B, C, H, W). Output: (B, K), on the CPU.
        """
        output = self.model(images.to(self.device))
        logits = (output if isinstance(output, Tensor) else output.logits).float().cpu()
        if self.classes is not None and len(self.classes) != logits.shape[-1]:
            raise UserError(
                f"the model answers for {logits.shape[-1]} classes, but preprocessing.json names "
                f"{len(self.classes)}; they do not belong together"
            )
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=-1)

    def name(self, label: int) -> str:
        """Returns the name of a class."""
        return str(label) if self.classes is None else self.classes[label]


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A detector ready to find objects.

    Args:
        model: In evaluation mode, on its device.
        preprocessing: What a picture goes through.
        classes: Names of the classes.
        category_ids: Their ids in COCO's format.
        device: Where the model is.
    """

    model: ObjectDetector
    preprocessing: DetectionPreprocessing
    classes: tuple[str, ...]
    category_ids: tuple[int | str, ...]
    device: torch.device

    @torch.inference_mode()
    def found(self, images: Tensor, sizes: Tensor, original: Tensor) -> list[dict[str, Tensor]]:
        """Returns scores, labels and boxes (left, top, right, bottom in pixels of the original).

        Shape:
            images: (B, C, H, W). sizes: (B, 2), of the pictures in it. original: (B, 2), on the disk.
        """
        found = found_objects(self.model(images.to(self.device), sizes), original)
        return [{name: value.cpu() for name, value in one.items()} for one in found]


def load_answering(
    source: str, device: str | None = None
) -> Classifier | Detector | LoadedSegmenter:
    """Loads a run folder, a checkpoint, a directory or a hub id, as what its model answers."""
    model: nn.Module = from_pretrained(source)
    if isinstance(model, Segmenter):
        return as_segmenter(model, choose_device(device), source)
    if isinstance(model, ObjectDetector):
        return _as_detector(model.eval(), choose_device(device), source)
    with reading_note("what it says about pictures", source):
        return as_classifier(model, read_preprocessing(source), device)


def load_detector(source: str, device: str | None = None) -> Detector:
    """Loads a run folder, a checkpoint, a directory or a hub id.

    Raises:
        UserError: If the model is no detector, or has other classes than its preprocessing.json.
    """
    otherwise = "which finds no objects; use headway predict or headway segment"
    return _as_detector(*load_model(source, device, ObjectDetector, otherwise), source)


def _as_detector(model: ObjectDetector, place: torch.device, source: str) -> Detector:
    cfg = {**model.pretrained_cfg, **read_preprocessing(source)}
    with reading_note("what it says about pictures", source):
        check_names(cfg)
        preprocessing = DetectionPreprocessing.from_cfg(cfg)
    classes, ids = names_of(cfg, model.num_classes, source)
    return Detector(
        model=model.to(place),
        preprocessing=preprocessing,
        classes=classes,
        category_ids=ids,
        device=place,
    )


def names_of(
    cfg: Mapping[str, Any], num_classes: int, source: str
) -> tuple[tuple[str, ...], tuple[int | str, ...]]:
    """Returns the names of a detector's classes and their ids, numbers where nothing is said.

    Args:
        cfg: What is known of the detector: classes or label_names, category_ids.
        num_classes: Classes that it answers for.
        source: Where it is from, for the message.

    Raises:
        UserError: If there are more or less of either than classes.
    """
    names = cfg.get("classes") or cfg.get("label_names") or range(num_classes)
    if len(names) != num_classes:
        raise UserError(
            f"the model answers for {num_classes} classes, but preprocessing.json names "
            f"{len(names)}; they do not belong together"
        )
    ids = cfg.get("category_ids") or range(1, 1 + num_classes)
    if len(ids) != len(names):
        raise UserError(
            f"preprocessing.json of {source} has {len(ids)} category_ids for {len(names)} classes"
        )
    return tuple(str(name) for name in names), tuple(ids)


def check_names(cfg: Mapping[str, Any]) -> None:
    """Raises if what a model or its preprocessing.json says about classes is of another kind."""
    for name, hint in (
        ("classes", tuple[str, ...]),
        ("label_names", tuple[str, ...]),
        ("category_ids", tuple[int | str, ...]),
        ("multi_label", bool),
    ):
        check_fits(cfg.get(name), hint | None, name)


def load_classifier(source: str, device: str | None = None) -> Classifier:
    """Loads a run folder, a checkpoint, a directory or a hub id.

    The preprocessing is that of the run's ``preprocessing.json``; what it lacks is taken from the model's
    ``pretrained_cfg``.
    """
    model: nn.Module = from_pretrained(source)
    with reading_note("what it says about pictures", source):
        return as_classifier(model, read_preprocessing(source), device)


def as_classifier(
    model: nn.Module, preprocessing: Mapping[str, Any], device: str | None = None
) -> Classifier:
    """Puts a model and the content of its ``preprocessing.json`` together."""
    if isinstance(model, ObjectDetector):
        raise UserError(
            "the model finds objects in pictures and has no class for a whole one; use headway detect"
        )
    if isinstance(model, Segmenter):
        raise UserError(
            "the model gives each pixel a class and has none for a whole picture; use headway segment"
        )
    cfg = {**(getattr(model, "pretrained_cfg", None) or {}), **preprocessing}
    check_names(cfg)
    names = cfg.get("classes") or cfg.get("label_names")
    place = choose_device(device)
    return Classifier(
        model=model.eval().to(place),
        preprocessing=Preprocessing.from_cfg(cfg),
        classes=None if names is None else tuple(names),
        multi_label=bool(cfg.get("multi_label", False)),
        device=place,
    )
