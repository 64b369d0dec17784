"""Reading timm's ViT checkpoints, and the official ones of DeiT and DINOv2, which share their names."""

from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.vision.models.pretrained_cfg import MEAN_STD
from headway.vision.models.variants import build, variants
from headway.vision.weights.timm_keys import to_timm

# Present in official files and of no use afterwards.
IGNORED = ("mask_token",)
CFG_KEYS = (
    "tag", "mean", "std", "interpolation", "crop_pct", "crop_mode", "license", "label_names",
    "label_descriptions", "input_size", "test_input_size", "test_crop_pct",
)  # fmt: skip


class TimmViT:
    """Recognises ``architecture`` in config.json, or the names of the parameters."""

    name = "timm ViT/DeiT/DINOv2"
    may_miss = ("head.classifier.", "distillation_classifier.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json names a known architecture or the keys are timm's."""
        if checkpoint.config is not None:
            return checkpoint.config.get("architecture") in variants()
        return {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= checkpoint.state.keys()

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the published model at the sizes that the tensors have."""
        state, config = checkpoint.state, checkpoint.config or {}
        architecture = overrides.pop("architecture", None) or config.get("architecture")
        row = variants().get(architecture) if architecture else _guess(checkpoint)
        if row is None:
            raise UserError(f"{checkpoint.source}: there is no architecture {architecture!r}")
        cfg = config.get("pretrained_cfg") or {}
        weight = state["patch_embed.proj.weight"]
        options: dict[str, Any] = {
            "num_classes": len(state["head.weight"]) if "head.weight" in state else 0,
            "channels": weight.shape[1],
            "patch_size": weight.shape[-1],
        }
        wanted = cfg.get("input_size") or (3, int(row["image"]), int(row["image"]))
        # Until the position embeddings were seen, their grid is only a wish.
        model = build(row, image_size=(wanted[1], wanted[2]), **options)
        position = state.get("pos_embed")
        if position is not None:
            prefix = model.tokens.prefix if row["pos_prefix"] == "1" else 0
            size = _image_size(position.shape[1] - prefix, wanted[1:], weight.shape[-1])
            options["image_size"] = size
        model = build(row, **options, **_model_options(overrides))
        kept = {key: cfg[key] for key in CFG_KEYS if cfg.get(key) is not None}
        kept["input_size"] = model.pretrained_cfg["input_size"]
        model.pretrained_cfg = {**model.pretrained_cfg, **kept, "num_classes": model.num_classes}
        if not cfg and architecture is None:
            mean, std = MEAN_STD["imagenet"]
            model.pretrained_cfg.update(mean=mean, std=std)
        return model

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Renames the tensors."""
        state = dict(checkpoint.state)
        for name in [name for name in state if name.endswith("fc1_g.weight")]:
            other = name.replace("fc1_g", "fc1_x")
            if other in state:  # a SwiGLU kept in two pieces
                state[name.replace("fc1_g", "fc1")] = torch.cat([state.pop(name), state.pop(other)])
        converted = {}
        for ours in model.state_dict():
            theirs = to_timm(ours)
            if theirs in state:
                converted[ours] = state.pop(theirs)
        return converted | {name: value for name, value in state.items() if name not in IGNORED}


def _model_options(overrides: dict[str, Any]) -> dict[str, Any]:
    return {name: overrides.pop(name) for name in ("drop_path", "dropout") if name in overrides}


def _image_size(patches: int, wanted: Any, patch: int) -> tuple[int, int]:
    rows, columns = (side // patch for side in wanted)
    if rows * columns == patches:
        return (int(wanted[0]), int(wanted[1]))
    side = isqrt(patches)
    if side * side != patches:
        raise UserError(
            f"{patches} position embeddings fit neither {rows}x{columns} patches nor a square"
        )
    return (side * patch, side * patch)


def _guess(checkpoint: Checkpoint) -> dict[str, str]:
    """Returns the row whose numbers agree with the shapes; heads cannot be seen in shapes."""
    state = checkpoint.state
    blocks = {int(name.split(".")[1]) for name in state if name.startswith("blocks.")}
    fc2 = state.get("blocks.0.mlp.fc2.weight", state.get("blocks.0.mlp.w3.weight"))
    kinds_in_front = (("class", "cls_token"), ("distillation", "dist_token"))
    seen = {
        "dim": str(len(state["patch_embed.proj.weight"])),
        "depth": str(len(blocks)),
        "patch": str(state["patch_embed.proj.weight"].shape[-1]),
        "hidden": str(fc2.shape[1]) if fc2 is not None else "",
        "registers": str(state["reg_token"].shape[1]) if "reg_token" in state else "0",
        "prefix": "+".join(kind for kind, name in kinds_in_front if name in state) or "-",
        "pool_norm": str(int("fc_norm.weight" in state)),
        "final_norm": str(int("norm.weight" in state)),
        "qkv_bias": str(int("blocks.0.attn.qkv.bias" in state)),
        "pre_norm": "tokens" if "norm_pre.weight" in state else "-",
    }  # fmt: skip
    scaled = "blocks.0.ls1.gamma" in state
    rows = [
        row
        for row in variants().values()
        if all(row[key] == value for key, value in seen.items())
        and (row["layer_scale"] != "-") == scaled
        and ("attn_pool.latent" in state) == row["pooling"].startswith("attention")
    ]
    # Rows that differ only in how pictures are prepared, or in the size they were trained at, build
    # the same model.
    same = ("heads", "norm", "feedforward", "block", "pooling", "pos_prefix")
    kinds = {tuple(row[key] for key in same) for row in rows}
    if len(kinds) != 1:
        names = ", ".join(row["name"] for row in rows[:8]) or "no architecture"
        raise UserError(
            f"{checkpoint.source} has no config.json, and its shapes fit {names}; "
            "name one with architecture=..."
        )
    return rows[0]


adapter = TimmViT()
