"""What checkpoints of transformers of the MaskFormer family share: the Swin backbone."""

from functools import partial
from typing import Any

from headway.core.errors import UserError
from headway.core.norms import LayerNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, drop, rename, under
from headway.vision.models.features import Features
from headway.vision.weights.hugging_face_swin import SWIN, swin

_FRONT = "model.pixel_level_module.encoder."
BACKBONE: list[Rule] = [
    # The norm at the end of a Swin is not that of its last map; nobody reads it.
    drop(*(f"{front}layernorm.*" for front in (_FRONT, f"{_FRONT}swin.", f"{_FRONT}model."))),
    drop("*relative_position_index", "*mask_token"),
    rename("backbone.norms.{n}.*", f"{_FRONT}hidden_states_norms.stage{{n+1}}.*"),
    rename("backbone.norms.{n}.*", f"{_FRONT}hidden_states_norms.{{n}}.*"),
    *under("backbone.model.", (_FRONT, f"{_FRONT}swin.", f"{_FRONT}model."), *SWIN),
]

# How a mask classifier was trained, and what its tensors say themselves.
HARMLESS: tuple[str, ...] = (
    "backbone", "backbone_config", "backbone_kwargs", "use_timm_backbone", "use_pretrained_backbone",
    "class_weight", "mask_weight", "dice_weight", "no_object_weight", "train_num_points", "oversample_ratio",
    "importance_sample_ratio", "init_std", "init_xavier_std", "use_auxiliary_loss", "output_auxiliary_logits",
    "ignore_value", "num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings",
)  # fmt: skip


def swin_maps(checkpoint: Checkpoint, drop_path: float) -> Features:
    """Returns the Swin that gives the maps, with a norm for each of them.

    Args:
        checkpoint: The checkpoint.
        drop_path: Rate of stochastic depth.

    Raises:
        UserError: If its backbone is another one.
    """
    described: dict[str, Any] = (checkpoint.config or {}).get("backbone_config") or {}
    kind = described.get("model_type")
    if kind not in ("swin", "maskformer-swin"):
        raise UserError(f"the backbone of {checkpoint.source} is {kind!r}; only a Swin is read")
    model = swin(
        checkpoint.source,
        described,
        shrink=False,
        num_classes=0,
        final_norm=False,
        drop_path=drop_path,
    )
    return Features(model, range(len(model.dims)), norm=partial(LayerNorm, eps=1e-5))
