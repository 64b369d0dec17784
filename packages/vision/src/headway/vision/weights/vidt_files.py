"""Reading the files of ViDT's authors, whose names and shapes tell all but a few numbers."""

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import DeformableAttention
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, combine, drop, rename, under
from headway.vision.models.vidt import ViDT, reconfigured_swin
from headway.vision.weights.detr_parts import deformable, in_projection, same

_KEYS = ("backbone.det_token", "backbone.det_pos_embed", "tgt_proj.0.weight")
_BLOCK = (
    rename("mixer.norm.*", "norm1.*"),
    rename("feedforward.norm.*", "norm2.*"),
    rename("mixer.function.qkv.*", "attn.qkv.*"),
    rename("mixer.function.projection.*", "attn.proj.*"),
    rename("mixer.function.placing.*", "det_pos_linear.*"),
    rename("feedforward.function.*", "mlp.*"),
    rename("mixer.function.position.table", "attn.relative_position_bias_table"),
)


def _narrowed(ours: str, theirs: str) -> list[Rule]:
    """Returns the rules of a projection of tokens that is one of maps there."""
    return [
        combine(
            [f"{ours}.0.weight"],
            [f"{theirs}.0.weight"],
            read=lambda weight: weight[..., 0],
            write=lambda weight: (weight[..., None],),
        ),
        rename(f"{ours}.0.bias", f"{theirs}.0.bias"),
        rename(f"{ours}.1.*", f"{theirs}.1.*"),
    ]


_REST = (
    rename("tokens", "backbone.det_token"),
    rename("positions", "backbone.det_pos_embed"),
    rename("backbone.embedding.norm.*", "backbone.patch_embed.norm.*"),
    rename("backbone.embedding.*", "backbone.patch_embed.proj.*"),
    *under("backbone.stages.{s}.blocks.{b}.", "backbone.layers.{s}.blocks.{b}.", *_BLOCK),
    *_narrowed("query_projection", "tgt_proj"),
    *_narrowed("position_projection", "query_pos_proj"),
    rename("reference.*", "transformer.reference_points.*"),
    rename("projections.layers.{n}.*", "input_proj.{n}.*"),
    rename("class_heads.*", "class_embed.*"),
    same("box_heads.{n}.*", ["bbox_embed.{n}.*", "transformer.decoder.bbox_embed.{n}.*"]),
    rename("box_heads.{n}.*", "bbox_embed.{n}.*"),
    rename("overlap_heads.*", "iou_embed.*"),
    rename("label_projection.0.*", "transformer.enc_output.*"),
    rename("label_projection.1.*", "transformer.enc_output_norm.*"),
    rename("label_head.*", "transformer.token_embed.*"),
    *under(
        "decoder.blocks.{n}.",
        "transformer.decoder.layers.{n}.",
        in_projection("weight"),
        in_projection("bias"),
        rename("mixer.function.projection.*", "self_attn.out_proj.*"),
        *deformable("cross", "cross_attn"),
        rename("mixer.norm.*", "norm2.*"),
        rename("cross.norm.*", "norm1.*"),
        rename("feedforward.norm.*", "norm3.*"),
        rename("feedforward.function.fc{k}.*", "linear{k}.*"),
    ),
    # What no answer rests on there.
    drop(
        "backbone.norm{n}.weight",
        "backbone.norm{n}.bias",
        "backbone.layers.{s}.downsample.expansion.weight",
        "backbone.layers.{s}.downsample.norm2.weight",
        "backbone.layers.{s}.downsample.norm2.bias",
        "backbone.layers.{s}.blocks.{b}.attn.relative_position_index",
        "transformer.level_embed",
    ),
)


class AuthorsViDT:
    """Recognises the names of the tensors, where there is no config.json."""

    name = "ViDT of its authors"
    defaults: ClassVar[dict[str, Any]] = {}

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the tensors are those of a ViDT."""
        return checkpoint.config is None and all(key in checkpoint.state for key in _KEYS)

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that names and shapes tell; heads and stages that read patches as told."""
        state, args, source = checkpoint.state, checkpoint.arguments, checkpoint.source
        for front, what in (("fusion.", "fuses its maps (epff)"), ("vector_embed.", "segments")):
            if any(name.startswith(front) for name in state):
                raise UserError(f"{source} {what}, which no ViDT here does")
        if "transformer.reference_points.weight" not in state:
            raise UserError(f"{source} has no decoder; only files of the method vidt are read")
        stages = _count(state, "backbone.layers")
        tables = [
            state[f"backbone.layers.{place}.blocks.0.attn.relative_position_bias_table"]
            for place in range(stages)
        ]
        _, queries, width = state["backbone.det_token"].shape
        dim, depth = (
            state["tgt_proj.0.weight"].shape[0],
            _count(state, "transformer.decoder.layers"),
        )
        heads = int(args.get("nheads") or 8)
        levels = stages
        weights = state["transformer.decoder.layers.0.cross_attn.attention_weights.bias"]
        model = ViDT(
            num_classes=len(state["class_embed.0.bias"]),
            backbone=reconfigured_swin(
                dim=width,
                depths=[
                    _count(state, f"backbone.layers.{place}.blocks") for place in range(stages)
                ],
                heads=[table.shape[1] for table in tables],
                window=(math.isqrt(tables[0].shape[0]) + 1) // 2,
                cross=args.get("cross_indices") or (-1,),
                position_dim=dim,
            ),
            dim=dim,
            heads=heads,
            queries=queries,
            depth=depth,
            overlaps=any(name.startswith("iou_embed.") for name in state),
            labels="transformer.token_embed.weight" in state,
            attention=partial(
                DeformableAttention, points=len(weights) // (heads * levels), out_dropout=0.1
            ),
            feedforward=partial(
                MLP,
                hidden_dim=len(state["transformer.decoder.layers.0.linear1.bias"]),
                activation=nn.ReLU,
                dropout=0.1,
            ),
        )
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; what leads to a stage is called the end of the one before."""
        assert isinstance(model, ViDT)
        last = len(model.backbone.dims) - 1
        merging = []
        for place in range(last + 1):
            ours = "last." if place == last else f"backbone.stages.{place + 1}.downsample."
            theirs = f"backbone.layers.{place}.downsample."
            merging += under(
                ours, theirs, rename("norm.*", "norm.*"), rename("projection.*", "reduction.*")
            )
        return Table(*merging, *_REST)


def _count(state: Mapping[str, Tensor], front: str) -> int:
    """Returns how many parts have numbers behind this name."""
    found = (re.match(rf"{re.escape(front)}\.(\d+)\.", name) for name in state)
    return 1 + max((int(match.group(1)) for match in found if match), default=-1)


adapter = AuthorsViDT()
