"""The published members of the Swin family: the table ``swin_variants.tsv``, and how to build a row."""

import csv
from collections.abc import Sequence
from functools import cache, partial
from importlib import resources
from typing import Any

from headway.core.blocks.block import MixerFactory
from headway.core.embeddings import PatchEmbedding
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.mixers import WindowAttention
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.vision.models.pretrained_cfg import MEAN_STD
from headway.vision.models.swin import Swin


@cache
def swin_variants() -> dict[str, dict[str, str]]:
    """Returns the rows of the table by name."""
    table = resources.files("headway.vision.models").joinpath("swin_variants.tsv").read_text()
    return {row["name"]: row for row in csv.DictReader(table.splitlines(), delimiter="\t")}


def swin_pretrained_cfg(row: dict[str, str], channels: int = 3) -> dict[str, Any]:
    """Returns how the published weights of a row want their pictures."""
    mean, std = MEAN_STD["imagenet"]
    return {
        "architecture": row["name"],
        "tag": row["tag"],
        "input_size": (channels, int(row["image"]), int(row["image"])),
        "num_classes": int(row["classes"]),
        "mean": mean,
        "std": std,
        "interpolation": "bicubic",
        "crop_pct": float(row["crop_pct"]),
        "crop_mode": "center",
    }


def window_mixers(
    windows: Sequence[Sequence[int]], depths: Sequence[int], **options: Any
) -> list[MixerFactory]:
    """Returns plain and shifted windows in turns, for each block of a model.

    Args:
        windows: (height, width) of the windows of each stage.
        depths: Blocks of each stage.
        options: Further arguments of ``WindowAttention``.
    """
    mixers: list[MixerFactory] = []
    for window, depth in zip(windows, depths, strict=True):
        plain = partial(WindowAttention, window=tuple(window), **options)
        half = tuple(side // 2 for side in window)
        mixers += [
            plain if place % 2 == 0 else partial(plain, shift=half) for place in range(depth)
        ]
    return mixers


def build_swin(
    row: dict[str, str],
    *,
    num_classes: int | None = None,
    channels: int = 3,
    image_size: int | tuple[int, int] | None = None,
    patch_size: int | None = None,
    windows: Sequence[Sequence[int]] | None = None,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> Swin:
    """Builds the model of a row; what is None is as published.

    As in timm, a window larger than the map of its stage at ``image_size`` is made as small as the map.
    """
    size = image_size if image_size is not None else int(row["image"])
    sides = (size, size) if isinstance(size, int) else size
    patch = patch_size or 4
    depths = [int(depth) for depth in row["depths"].split(",")]
    if windows is None:
        windows = []
        grid = [-(-side // patch) for side in sides]
        for window in row["windows"].split(","):
            windows.append([min(int(window), side) for side in grid])
            grid = [-(-side // 2) for side in grid]
    norm = partial(LayerNorm, eps=1e-5)
    model = Swin(
        image_size=size,
        num_classes=num_classes if num_classes is not None else int(row["classes"]),
        dim=int(row["dim"]),
        depths=depths,
        heads=[int(heads) for heads in row["heads"].split(",")],
        embedding=partial(
            PatchEmbedding, patch=patch, channels=channels, norm=norm, remainder="pad"
        ),
        mixer=window_mixers(windows, depths, pad="after"),
        norm=norm,
        resampler=partial(PatchMerging, norm=norm),
        drop_path=drop_path,
        head=partial(ClassificationHead, pooling=AveragePooling, dropout=dropout),
    )
    model.pretrained_cfg = {
        **model.pretrained_cfg,
        **swin_pretrained_cfg(row),
        "input_size": model.pretrained_cfg["input_size"],
        "num_classes": model.num_classes,
    }
    return model
