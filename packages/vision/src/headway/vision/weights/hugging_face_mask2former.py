"""Reading Mask2Former checkpoints of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, combine, drop, join, rename, under
from headway.vision.models.mask2former import Mask2Former
from headway.vision.weights.detr_parts import describe
from headway.vision.weights.hugging_face import ACTIVATIONS
from headway.vision.weights.hugging_face_deformable_detr import deformable
from headway.vision.weights.mask_parts import BACKBONE, HARMLESS, swin_maps

_PIXELS, _DECODER = "model.pixel_level_module.decoder.", "model.transformer_module."
_FEEDFORWARD = (
    rename("feedforward.norm.*", "final_layer_norm.*"),
    rename("feedforward.function.fc{k}.*", "fc{k}.*"),
)
# Maps are counted from the largest here and from the smallest there.
_LEVELS = 3
_REST = (
    drop("criterion.empty_weight"),
    *BACKBONE,
    *under(
        "pixels.",
        _PIXELS,
        rename("level_embedding", "level_embed"),
        *(
            rename(f"projections.layers.{place}.*", f"input_projections.{_LEVELS - 1 - place}.*")
            for place in range(_LEVELS)
        ),
        rename("mask_projection.*", "mask_projection.*"),
    ),
    *under(
        "pixels.encoder.blocks.{n}.",
        f"{_PIXELS}encoder.layers.{{n}}.",
        *deformable("mixer", "self_attn"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        *_FEEDFORWARD,
    ),
    *under(
        "",
        _DECODER,
        rename("queries", "queries_features.weight"),
        rename("query_embedding", "queries_embedder.weight"),
        rename("level_embedding", "level_embed.weight"),
        rename("decoder.norm.*", "decoder.layernorm.*"),
        rename("mask_head.layers.{n}.*", "decoder.mask_predictor.mask_embedder.{n}.0.*"),
    ),
    *under(
        "decoder.blocks.{n}.",
        f"{_DECODER}decoder.layers.{{n}}.",
        join("mixer.function.qk.*", ["self_attn.q_proj.*", "self_attn.k_proj.*"]),
        rename("mixer.function.v.*", "self_attn.v_proj.*"),
        rename("mixer.function.projection.*", "self_attn.out_proj.*", "self_attn.o_proj.*"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        *(
            combine(
                [f"cross.function.{part}.{kind}" for part in "qkv"],
                [f"cross_attn.in_proj_{kind}"],
                read=lambda whole: tuple(whole.chunk(3)),
                write=lambda *parts: torch.cat(parts),
            )
            for kind in ("weight", "bias")
        ),
        rename("cross.function.projection.*", "cross_attn.out_proj.*"),
        rename("cross.norm.*", "cross_attn_layer_norm.*"),
        *_FEEDFORWARD,
    ),
    rename("class_head.*", "class_predictor.*"),
)


def _up(steps: int) -> list[Rule]:
    """Returns the rules of what leads to the larger maps; there they are named as the maps are."""
    rules = []
    for place in range(steps):
        there = steps - place
        rules += under(
            f"pixels.up.{place}.",
            _PIXELS,
            rename("lateral.conv.weight", f"adapter_{there}.0.weight"),
            rename("lateral.norm.*", f"adapter_{there}.1.*"),
            rename("out.conv.weight", f"layer_{there}.0.weight"),
            rename("out.norm.*", f"layer_{there}.1.*"),
        )
    return rules


class HuggingFaceMask2Former:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face Mask2Former"
    architectures = ("Mask2FormerModel", "Mask2FormerForUniversalSegmentation")
    # Of transformers' Mask2FormerConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "dropout": 0.0,
        "pre_norm": False,
        "enforce_input_projection": False,
        "common_stride": 4,
        "feature_strides": [4, 8, 16, 32],
    }
    harmless = HARMLESS
    may_miss = ("class_head.",)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a Mask2Former."""
        return (
            checkpoint.config is not None and checkpoint.config.get("model_type") == "mask2former"
        )

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        dim, width = config.get("hidden_dim", 256), config.get("feature_size", 256)
        if width != dim:
            raise UserError(
                f"{checkpoint.source} has feature_size {width} and hidden_dim {dim}; only equal ones are read"
            )
        activation = config.get("activation_function", "relu")
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise UserError(f"the activation {activation!r} is not known; known: {known}")
        head = checkpoint.state.get("class_predictor.weight")
        classes = len(head) - 1 if head is not None else len(config.get("id2label") or {}) or 80
        encoder_hidden = config.get("encoder_feedforward_dim", 1024)
        model = Mask2Former(
            num_classes=classes,
            backbone=swin_maps(checkpoint, overrides.pop("drop_path", 0.0)),
            dim=dim,
            mask_dim=config.get("mask_feature_size", 256),
            heads=config.get("num_attention_heads", 8),
            queries=config.get("num_queries", 100),
            levels=_LEVELS,
            encoder_depth=config.get("encoder_layers", 6),
            # There the first answer, of queries that have read nothing, counts as a block.
            decoder_depth=config.get("decoder_layers", 10) - 1,
            encoder_feedforward=partial(MLP, hidden_dim=encoder_hidden, activation=nn.ReLU),
            feedforward=partial(
                MLP,
                hidden_dim=config.get("dim_feedforward", 2048),
                activation=ACTIVATIONS[activation],
            ),
        )
        describe(model, checkpoint)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        assert isinstance(model, Mask2Former)
        return Table(*_REST, *_up(len(model.pixels.up)), prefix="model.")


adapter = HuggingFaceMask2Former()
