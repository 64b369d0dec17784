"""The published members of the Swin family: the table ``swin_variants.tsv``, and how to build a row."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isqrt
from typing import Any

from torch import Tensor

from headway.core.blocks.block import MixerFactory
from headway.core.embeddings import PatchEmbedding
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.mixers import WindowAttention
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.core.weights.table import Table, drop, rename, under
from headway.vision.models.classifier import sides
from headway.vision.models.families import Family, Row, blocks_of_stages, numbers
from headway.vision.models.swin import Swin


def _table(downsample: str) -> Table:
    """Returns timm's names; where a merging stands is another place in official files."""
    return Table(
        rename("embedding.norm.*", "patch_embed.norm.*"),
        rename("embedding.*", "patch_embed.proj.*"),
        rename("stages.{s+1}.downsample.projection.*", f"{downsample}.reduction.*"),
        rename("stages.{s+1}.downsample.norm.*", f"{downsample}.norm.*"),
        under(
            "stages.{s}.blocks.{b}.",
            "layers.{s}.blocks.{b}.",
            rename("mixer.norm.*", "norm1.*"),
            rename("feedforward.norm.*", "norm2.*"),
            rename("mixer.function.position.table", "attn.relative_position_bias_table"),
            rename("mixer.function.qkv.*", "attn.qkv.*"),
            rename("mixer.function.projection.*", "attn.proj.*"),
            rename("feedforward.function.*", "mlp.*"),
        ),
        rename("norm.*", "norm.*"),
        rename("head.classifier.*", "head.fc.*", "head.*"),
        # Buffers of official files, which follow from the sizes.
        drop("*relative_position_index", "*attn_mask"),
    )


TIMM = _table("layers.{s+1}.downsample")
# There a stage ends with the merging that leads to the next one.
OFFICIAL = _table("layers.{s}.downsample")
TABLE = "layers.{}.blocks.0.attn.relative_position_bias_table"


def fitted_windows(
    windows: Sequence[int], image_size: int | Sequence[int], patch: int
) -> list[list[int]]:
    """Returns (height, width) of the windows of each stage, none larger than the map of its stage.

    Args:
        windows: Side of the windows of each stage.
        image_size: Side, or (height, width), of pictures in pixels.
        patch: Side of a patch in pixels.
    """
    fitted = []
    grid = [-(-side // patch) for side in sides(image_size)]
    for window in windows:
        fitted.append([min(window, side) for side in grid])
        grid = [-(-side // 2) for side in grid]
    return fitted


def window_mixers(
    windows: Sequence[Sequence[int]],
    depths: Sequence[int],
    *,
    attention: Callable[..., WindowAttention] = WindowAttention,
    trained: Sequence[int] = (),
    shifted: Sequence[bool] = (),
    **options: Any,
) -> list[MixerFactory]:
    """Returns plain and shifted windows in turns, for each block of a model.

    Args:
        windows: (height, width) of the windows of each stage.
        depths: Blocks of each stage.
        attention: Builds the mixer, ``(dim, heads, *, window, shift, ...)``.
        trained: ``trained_window`` of each stage; 0 for the window itself.
        shifted: Whether windows of each stage are ever shifted; all are if empty.
        options: Further arguments of the mixers.
    """
    mixers: list[MixerFactory] = []
    for place, (window, depth) in enumerate(zip(windows, depths, strict=True)):
        plain = partial(attention, window=tuple(window), **options)
        if any(trained[place : place + 1]):
            plain = partial(plain, trained_window=trained[place])
        half = tuple(side // 2 if all(shifted[place : place + 1]) else 0 for side in window)
        mixers += [
            plain if place % 2 == 0 else partial(plain, shift=half) for place in range(depth)
        ]
    return mixers


def make_swin(
    row: Row,
    *,
    image_size: int | Sequence[int],
    channels: int,
    patch_size: int,
    dropout: float,
    windows: Sequence[Sequence[int]] | None = None,
    **sizes: Any,
) -> Swin:
    """Makes the model of a row.

    As in timm, a window larger than the map of its stage at ``image_size`` is made as small as the map.
    """
    depths = numbers(row["depths"])
    if windows is None:
        windows = fitted_windows(numbers(row["windows"]), image_size, patch_size)
    norm = partial(LayerNorm, eps=1e-5)
    return Swin(
        image_size=image_size,
        dim=int(row["dim"]),
        depths=depths,
        heads=numbers(row["heads"]),
        embedding=partial(
            PatchEmbedding, patch=patch_size, channels=channels, norm=norm, remainder="pad"
        ),
        mixer=window_mixers(windows, depths, pad="after"),
        norm=norm,
        resampler=partial(PatchMerging, norm=norm),
        head=partial(ClassificationHead, pooling=AveragePooling, dropout=dropout),
        **sizes,
    )


def _seen(state: Mapping[str, Tensor]) -> Row:
    """Returns what timm's tensors tell; windows are taken to be square."""
    depths = blocks_of_stages(state, "layers")
    tables = [state[TABLE.format(place)] for place in range(len(depths))]
    windows = [(isqrt(len(table)) + 1) // 2 for table in tables]
    return {
        "image": str(32 * windows[-1]),
        "dim": str(len(state["patch_embed.proj.weight"])),
        "depths": ",".join(map(str, depths)),
        "heads": ",".join(str(table.shape[1]) for table in tables),
        "windows": ",".join(map(str, windows)),
    }


SWIN = Family(
    name="Swin",
    table="swin_variants.tsv",
    make=make_swin,
    patch=4,
    tiny={"image": "32", "dim": "12", "depths": "1,1", "heads": "2,4", "windows": "7,7"},
    timm=TIMM,
    timm_marks=frozenset({"patch_embed.proj.weight", TABLE.format(0)}),
    seen=_seen,
    told=("window_size", "num_heads"),  # its tables tell
)
