"""What checkpoints of LW-DETR and RF-DETR share: names of the decoder, sizes, pictures."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import DeformableAttention
from headway.core.reading import read_json
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, combine, join, rename, under
from headway.vision.layers import GroupedSelfAttention
from headway.vision.models.pretrained_cfg import MEAN_STD
from headway.vision.weights.detr_parts import HARMLESS, deformable
from headway.vision.weights.hugging_face_processor import FILE
from headway.vision.weights.hugging_face_rt_detr import activation_of

# How such a detector was trained, and what follows from other keys.
UNREAD: tuple[str, ...] = (
    *HARMLESS, "eos_coefficient", "focal_alpha", "class_loss_coefficient", "disable_custom_kernels",
    "num_feature_levels", "projector_in_channels", "projector_out_channels", "activation_dropout",
)  # fmt: skip


def _in_projection(kind: str) -> Rule:
    """Returns the rule of queries, keys and values that stand one behind the other in one tensor."""

    def read(whole: Tensor) -> tuple[Tensor, ...]:
        both = len(whole) // 3 * 2
        return whole[:both], whole[both:]

    return combine(
        [f"mixer.function.qk.{kind}", f"mixer.function.v.{kind}"],
        [f"self_attn.in_proj_{kind}"],
        read=read,
        write=lambda both, value: (torch.cat([both, value]),),
    )


# Names of transformers, and of Roboflow's own files, which transformers writes for RF-DETR, too.
NAMES: list[Rule] = [
    rename("class_head.*", "class_embed.*"),
    rename("box_head.*", "bbox_embed.*"),
    rename("first", "model.query_feat.weight", "query_feat.weight"),
    rename("first_boxes", "model.reference_point_embed.weight", "refpoint_embed.weight"),
    *under(
        "",
        ("model.", "transformer."),
        rename("query_position.0.*", "decoder.ref_point_head.layers.0.*"),
        rename("query_position.2.*", "decoder.ref_point_head.layers.1.*"),
        rename("decoder.norm.*", "decoder.layernorm.*", "decoder.norm.*"),
        rename("selections.{g}.projection.*", "enc_output.{g}.*"),
        rename("selections.{g}.norm.*", "enc_output_norm.{g}.*"),
        rename("selections.{g}.class_head.*", "enc_out_class_embed.{g}.*"),
        rename("selections.{g}.box_head.*", "enc_out_bbox_embed.{g}.*"),
        *under(
            "decoder.blocks.{n}.",
            "decoder.layers.{n}.",
            join("mixer.function.qk.*", ["self_attn.q_proj.*", "self_attn.k_proj.*"]),
            rename("mixer.function.v.*", "self_attn.v_proj.*"),
            _in_projection("weight"),
            _in_projection("bias"),
            rename("mixer.function.projection.*", "self_attn.o_proj.*", "self_attn.out_proj.*"),
            *deformable("cross", "cross_attn"),
            rename("mixer.norm.*", "self_attn_layer_norm.*", "norm1.*"),
            rename("cross.norm.*", "cross_attn_layer_norm.*", "norm2.*"),
            rename("feedforward.norm.*", "layer_norm.*", "norm3.*"),
            rename("feedforward.function.fc{k}.*", "mlp.fc{k}.*", "linear{k}.*"),
        ),
    ),
]


def block_names(ours: str, theirs: str) -> list[Rule]:
    """Returns the rules of a block that joins what pairs of convolutions gave."""
    return under(
        ours,
        theirs,
        rename("first.*", "conv1.*"),
        rename("last.*", "conv2.*"),
        rename("steps.{b}.0.*", "bottlenecks.{b}.conv1.*"),
        rename("steps.{b}.1.*", "bottlenecks.{b}.conv2.*"),
    )


def shared(checkpoint: Checkpoint, config: dict[str, Any], *, hidden: int = 2048) -> dict[str, Any]:
    """Returns the arguments of the decoder.

    Args:
        checkpoint: Whose tensors say for how many classes there are logits.
        config: What transformers' configuration of it says.
        hidden: Width of the feed-forwards where it is not said.
    """
    dropout = float(config.get("dropout", 0.0))
    head = checkpoint.state.get("class_embed.weight")
    return {
        "num_classes": len(config.get("id2label") or {}) or 91 if head is None else len(head),
        "dim": config.get("d_model", 256),
        "heads": config.get("decoder_self_attention_heads", 8),
        "cross_heads": config.get("decoder_cross_attention_heads", 16),
        "queries": config.get("num_queries", 300),
        "groups": config.get("group_detr", 13),
        "depth": config.get("decoder_layers", 3),
        "mixer": partial(
            GroupedSelfAttention,
            qkv_bias=config.get("attention_bias", True),
            out_bias=config.get("attention_bias", True),
            dropout=float(config.get("attention_dropout", 0.0)),
            out_dropout=dropout,
        ),
        "cross": partial(
            DeformableAttention, points=config.get("decoder_n_points", 4), out_dropout=dropout
        ),
        "feedforward": partial(
            MLP,
            hidden_dim=config.get("decoder_ffn_dim", hidden),
            activation=activation_of(config.get("decoder_activation_function", "relu")),
            dropout=dropout,
        ),
    }


def tiles_of(source: str, number: int) -> int:
    """Returns into how many parts a side of a map is cut.

    Raises:
        UserError: If the number of tiles is no square.
    """
    side = math.isqrt(number)
    if side * side != number:
        raise UserError(f"{source} has num_windows={number}, which is no square")
    return side


def blocks_of(out_indices: Sequence[int]) -> list[int]:
    """Returns which blocks give maps; theirs count the embedding as the first."""
    return [place - 1 for place in out_indices]


def pictures(checkpoint: Checkpoint, *, side: int) -> dict[str, Any]:
    """Returns what a picture goes through: a square, or proportions that are kept.

    Args:
        checkpoint: Whose preprocessor_config.json says so.
        side: Of the square where it says nothing.

    Raises:
        UserError: If the file asks for other rectangles.
    """
    file = checkpoint.folder / FILE
    told = read_json(file) if file.is_file() else {}
    size = told.get("size") or {"height": side, "width": side}
    if not isinstance(size, dict):
        raise UserError(f"{file} has size={size!r}; known are height and width, or shortest_edge")
    mean, std = MEAN_STD["imagenet"]
    found: dict[str, Any] = {
        "mean": tuple(told.get("image_mean", mean)),
        "std": tuple(told.get("image_std", std)),
    }
    if size.get("shortest_edge"):
        return {
            **found,
            "shortest": size["shortest_edge"],
            "longest": size.get("longest_edge") or 1333,
        }
    if size.get("height", side) != size.get("width", side):
        raise UserError(f"{file} makes pictures of {size}; only squares are made here")
    side = int(size.get("height", side))
    return {**found, "shortest": side, "longest": max(side, 1333), "stretch": True}


def describe(model: Any, checkpoint: Checkpoint, config: dict[str, Any]) -> None:
    """Writes the names of the classes into ``pretrained_cfg``, where a file has one for each."""
    names, classes = config.get("id2label") or {}, model.num_classes
    if len(names) == classes:
        model.pretrained_cfg["label_names"] = [names[str(place)] for place in range(classes)]
        if "N/A" in names.values():
            model.pretrained_cfg["category_ids"] = list(range(classes))
