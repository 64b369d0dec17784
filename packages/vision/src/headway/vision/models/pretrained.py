"""Published weights for a model: from a folder, a file or the hub."""

from pathlib import Path
from typing import Any

from torch import nn

from headway.core.errors import UserError
from headway.core.weights.pretrained import from_pretrained
from headway.vision.models.classifier import ImageClassifier
from headway.vision.models.detector import ObjectDetector
from headway.vision.models.mix_transformer import MixTransformer
from headway.vision.models.segformer import SIZES, SegFormer
from headway.vision.models.segmenter import Segmenter


def pretrained(
    source: str,
    *,
    num_classes: int | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    drop_path: float = 0.0,
    architecture: str | None = None,
) -> nn.Module:
    """Loads an image classifier for fine-tuning; this is what recipes name.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        num_classes: Classes of the new head; the published head if None.
        image_size: Side in pixels; as published if None.
        channels: Channels of a picture; as published if None.
        drop_path: Rate of stochastic depth of the last block.
        architecture: timm's name, for a bare file whose shapes fit several models.
    """
    wishes: dict[str, Any] = {
        "num_classes": num_classes,
        "image_size": image_size,
        "channels": channels,
        "drop_path": drop_path or None,
        "architecture": architecture,
    }
    model = from_pretrained(
        source, **{key: value for key, value in wishes.items() if value is not None}
    )
    if not isinstance(model, ImageClassifier):
        raise UserError(f"{source} is a {type(model).__name__}, not an image classifier")
    return model


def pretrained_detector(source: str, *, num_classes: int | None = None) -> ObjectDetector:
    """Loads a detector for fine-tuning; this is what recipes name.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        num_classes: Classes of the new head; the published head if None.
    """
    wishes: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    model = from_pretrained(source, **wishes)
    if not isinstance(model, ObjectDetector):
        raise UserError(f"{source} is a {type(model).__name__}, not a detector")
    return model


def pretrained_segmenter(source: str, *, num_classes: int | None = None) -> Segmenter:
    """Loads a segmenter for fine-tuning; this is what recipes name.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub; of an encoder of SegFormer
            (``nvidia/mit-b0``), which gets a new head, too.
        num_classes: Classes of the new head; the published head if None.
    """
    wishes: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    model = from_pretrained(source, **wishes)
    if isinstance(model, MixTransformer):
        arguments = {k: v for k, v in model.init_args.items() if k != "num_classes"}
        # The head of the published member with these stages, or that of the smallest.
        dim = next((d for a, b, d in SIZES.values() if [a, b] == _stages(arguments)), 256)
        segmenter = SegFormer(num_classes=num_classes or model.num_classes, dim=dim, **arguments)
        segmenter.stages.load_state_dict(model.stages.state_dict())
        kept = {k: model.pretrained_cfg[k] for k in ("mean", "std") if k in model.pretrained_cfg}
        segmenter.pretrained_cfg.update(kept)
        return segmenter
    if not isinstance(model, Segmenter):
        raise UserError(f"{source} is a {type(model).__name__}, not a segmenter")
    return model


def _stages(arguments: dict[str, Any]) -> list[tuple[int, ...]]:
    return [tuple(arguments[name]) for name in ("dims", "depths")]


def load_into(model: nn.Module, source: str | Path) -> None:
    """Loads published weights into a model that may have another head, image size or channels."""
    assert isinstance(model, ImageClassifier)
    loaded = from_pretrained(
        source,
        num_classes=model.num_classes,
        image_size=tuple(model.pretrained_cfg["input_size"][1:]),
        channels=model.embedding.channels,
    )
    model.load_state_dict(loaded.state_dict())
    model.load_report = loaded.load_report  # pyright: ignore[reportAttributeAccessIssue]
