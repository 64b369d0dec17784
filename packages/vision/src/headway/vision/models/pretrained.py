"""Published weights for a model: from a folder, a file or the hub."""

from pathlib import Path
from typing import Any

from torch import nn

from headway.core.errors import UserError
from headway.core.weights.pretrained import from_pretrained
from headway.vision.models.classifier import ImageClassifier
from headway.vision.models.detector import ObjectDetector


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
