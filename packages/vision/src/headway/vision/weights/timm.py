"""Reading timm's ViT checkpoints, and the official ones of DeiT and DINOv2, which share their names."""

from collections.abc import Mapping
from math import isqrt
from typing import Any, ClassVar

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
    # Of timm's config.json; what tensors tell is not read, and pretrained_cfg is about pictures.
    defaults: ClassVar[dict[str, Any]] = {"model_args": {}}
    harmless = ("num_classes", "num_features", "pretrained_cfg", "labels")
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
        row = as_configured(row, config, state, checkpoint.source)
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


# timm's words for what is read from the result.
POOLINGS = {"token": "token", "avg": "average", "map": "attention"}
# Arguments of timm's models that the tensors tell, or that only training knows.
TOLD = (
    "img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "mlp_ratio", "reg_tokens",
    "init_values", "dynamic_img_size", "drop_rate", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate",
    "drop_path_rate", "patch_drop_rate", "strict_img_size", "qkv_bias", "class_token", "fc_norm", "pre_norm",
    "final_norm", "weight_init",
)  # fmt: skip


def refuse_arguments(args: Mapping[str, Any], source: str) -> None:
    """Raises for the first argument of ``model_args`` that neither tensors nor an adapter tell.

    Raises:
        UserError: It names the argument.
    """
    for name, value in args.items():
        if name not in TOLD:
            raise UserError(
                f"{source}: config.json says model_args {name}={value!r}, which is not read; the answers "
                "would be wrong"
            )


def as_configured(
    row: dict[str, str], config: Mapping[str, Any], state: Mapping[str, Tensor], source: str
) -> dict[str, str]:
    """Returns the row of an architecture as ``model_args`` and ``global_pool`` of config.json change it.

    What shapes cannot tell is read (heads, pooling) or refused; the rest is seen in the tensors, which the
    model built from the row must fit.

    Args:
        row: The published architecture.
        config: The configuration of the checkpoint.
        state: The tensors, under timm's names.
        source: Named in messages.

    Raises:
        UserError: If an argument is not known here.
    """
    args = dict(config.get("model_args") or {})
    pooling = config.get("global_pool")
    pooling = args.pop("global_pool", pooling)
    found = dict(row)
    if "num_heads" in args:
        found["heads"] = str(args.pop("num_heads"))
    refuse_arguments(args, source)
    own, _, _ = row["pooling"].partition("+")
    if pooling is not None and POOLINGS.get(pooling) != own:
        if pooling not in ("token", "avg"):
            raise UserError(
                f"{source}: config.json says global_pool={pooling!r}, which is not read for "
                f"{row['name']}; token and avg are"
            )
        found["pooling"] = POOLINGS[pooling]
    if "head.weight" in state or pooling is not None:
        # The norm stands behind an average, or at the end of the blocks: its name tells.
        found["pool_norm"] = str(int("fc_norm.weight" in state))
        found["final_norm"] = str(int("norm.weight" in state))
    return found


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
