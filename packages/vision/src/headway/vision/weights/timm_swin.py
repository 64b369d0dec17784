"""Reading timm's Swin checkpoints, and the official ones, which name a few things otherwise."""

import re
from math import isqrt
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.vision.models.swin_variants import build_swin, swin_variants
from headway.vision.weights.timm import CFG_KEYS, refuse_arguments

# Ours -> timm's. The order matters: the first pattern that matches is taken.
_RULES = [
    (r"^embedding\.norm\.", "patch_embed.norm."),
    (r"^embedding\.", "patch_embed.proj."),
    (r"^stages\.(\d+)\.downsample\.projection\.", r"layers.\1.downsample.reduction."),
    (r"^stages\.(\d+)\.downsample\.norm\.", r"layers.\1.downsample.norm."),
    (r"^stages\.(\d+)\.(blocks\.\d+)\.mixer\.norm\.", r"layers.\1.\2.norm1."),
    (r"^stages\.(\d+)\.(blocks\.\d+)\.feedforward\.norm\.", r"layers.\1.\2.norm2."),
    (
        r"^stages\.(\d+)\.(blocks\.\d+)\.mixer\.function\.position\.table$",
        r"layers.\1.\2.attn.relative_position_bias_table",
    ),
    (r"^stages\.(\d+)\.(blocks\.\d+)\.mixer\.function\.qkv\.", r"layers.\1.\2.attn.qkv."),
    (r"^stages\.(\d+)\.(blocks\.\d+)\.mixer\.function\.projection\.", r"layers.\1.\2.attn.proj."),
    (r"^stages\.(\d+)\.(blocks\.\d+)\.feedforward\.function\.", r"layers.\1.\2.mlp."),
    (r"^norm\.", "norm."),
    (r"^head\.classifier\.", "head.fc."),
]
_COMPILED = [(re.compile(ours), theirs) for ours, theirs in _RULES]
_TABLE = "layers.{}.blocks.0.attn.relative_position_bias_table"
# Buffers of official files, which follow from the sizes.
_COMPUTED = ("relative_position_index", "attn_mask")


def to_timm_swin(name: str) -> str:
    """Returns timm's name of one of our parameters.

    Raises:
        KeyError: If timm has no such parameter.
    """
    for pattern, replacement in _COMPILED:
        renamed, times = pattern.subn(replacement, name)
        if times:
            return renamed
    raise KeyError(name)


class TimmSwin:
    """Recognises ``architecture`` in config.json, or the names of the parameters."""

    name = "timm Swin"
    defaults: ClassVar[dict[str, Any]] = {"model_args": {}, "global_pool": "avg"}
    harmless = ("num_classes", "num_features", "pretrained_cfg", "labels")
    may_miss = ("head.classifier.",)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json names a known architecture or the keys are timm's."""
        if checkpoint.config is not None:
            return checkpoint.config.get("architecture") in swin_variants()
        return {"patch_embed.proj.weight", _TABLE.format(0)} <= checkpoint.state.keys()

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the published model at the sizes that the tensors have."""
        state, config = _as_timm(checkpoint.state), checkpoint.config or {}
        architecture = overrides.pop("architecture", None) or config.get("architecture")
        row = swin_variants().get(architecture) if architecture else _row_of(state)
        if row is None:
            raise UserError(f"{checkpoint.source}: there is no architecture {architecture!r}")
        args = dict(config.get("model_args") or {})
        args.pop("window_size", None)  # its tables tell
        if args.get("global_pool") == "avg":
            del args["global_pool"]
        refuse_arguments(args, checkpoint.source)
        cfg = config.get("pretrained_cfg") or {}
        size = cfg.get("input_size") or (3, int(row["image"]), int(row["image"]))
        tables = [state[_TABLE.format(place)] for place in range(len(row["depths"].split(",")))]
        weight = state["patch_embed.proj.weight"]
        model = build_swin(
            row,
            image_size=(size[1], size[2]),
            num_classes=len(state["head.fc.weight"]) if "head.fc.weight" in state else 0,
            channels=weight.shape[1],
            patch_size=weight.shape[-1],
            windows=_windows(tables, (size[1], size[2]), weight.shape[-1]),
            **{name: overrides.pop(name) for name in ("drop_path", "dropout") if name in overrides},
        )
        kept = {key: cfg[key] for key in CFG_KEYS if cfg.get(key) is not None}
        kept["input_size"] = model.pretrained_cfg["input_size"]
        model.pretrained_cfg = {**model.pretrained_cfg, **kept, "num_classes": model.num_classes}
        return model

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Renames the tensors."""
        state = _as_timm(checkpoint.state)
        converted = {}
        for ours in model.state_dict():
            theirs = to_timm_swin(ours)
            if theirs in state:
                converted[ours] = state.pop(theirs)
        return converted | state


def _as_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns an official state under timm's names; one of timm as it is, computed buffers left out."""
    kept = {name: value for name, value in state.items() if not name.endswith(_COMPUTED)}
    if "layers.0.downsample.reduction.weight" not in kept:
        return kept
    # There a stage ends with the merging that leads to the next one.
    renamed = {}
    for name, value in kept.items():
        match = re.match(r"layers\.(\d+)\.downsample\.(.*)", name)
        if match:
            name = f"layers.{int(match.group(1)) + 1}.downsample.{match.group(2)}"
        renamed[re.sub(r"^head\.(weight|bias)$", r"head.fc.\1", name)] = value
    return renamed


def _windows(tables: list[Tensor], size: tuple[int, int], patch: int) -> list[tuple[int, int]]:
    """Returns the window of each stage, as the number of rows of its table says."""
    windows = []
    grid = [-(-side // patch) for side in size]
    for table in tables:
        rows = len(table)
        side = (isqrt(rows) + 1) // 2
        square = (2 * side - 1) ** 2 == rows
        # timm makes a window as small as its map; of what is not square, one side is that of the map.
        found = (side, side) if square else None
        for axis in (0, 1):
            if found is None and rows % (2 * grid[axis] - 1) == 0:
                other = (rows // (2 * grid[axis] - 1) + 1) // 2
                found = (grid[0], other) if axis == 0 else (other, grid[1])
        if found is None:
            raise UserError(f"a table of {rows} relative places fits no window on a map of {grid}")
        windows.append(found)
        grid = [-(-side // 2) for side in grid]
    return windows


def _row_of(state: dict[str, Tensor]) -> dict[str, str]:
    """Returns the row of the table that fits the shapes, or one that is made of them."""
    stages = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
    depths = [
        len({name.split(".")[3] for name in state if name.startswith(f"layers.{place}.blocks.")})
        for place in range(stages)
    ]
    tables = [state[_TABLE.format(place)] for place in range(stages)]
    windows = [(isqrt(len(table)) + 1) // 2 for table in tables]
    made = {
        "name": "swin",
        "image": str(32 * windows[-1]),
        "dim": str(len(state["patch_embed.proj.weight"])),
        "depths": ",".join(map(str, depths)),
        "heads": ",".join(str(table.shape[1]) for table in tables),
        "windows": ",".join(map(str, windows)),
        "classes": "1000",
        "crop_pct": "0.9",
        "tag": "",
    }
    same = ("dim", "depths", "heads", "windows")
    rows = swin_variants().values()
    return next((row for row in rows if all(row[key] == made[key] for key in same)), made)


adapter = TimmSwin()
