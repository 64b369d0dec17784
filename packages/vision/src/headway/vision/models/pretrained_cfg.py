"""How a model wants its pictures: the ``pretrained_cfg`` that timm's users know."""

from collections.abc import Sequence
from typing import Any

MEAN_STD: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def default_pretrained_cfg(channels: int, size: Sequence[int], num_classes: int) -> dict[str, Any]:
    """Returns the configuration of a model that was not pretrained."""
    mean, std = MEAN_STD["half"]
    return {
        "input_size": (channels, *size),
        "num_classes": num_classes,
        "mean": mean if channels == 3 else (0.5,) * channels,
        "std": std if channels == 3 else (0.5,) * channels,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
    }
