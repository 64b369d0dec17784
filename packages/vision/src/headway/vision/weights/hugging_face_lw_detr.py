"""Reading LW-DETR checkpoints of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.embeddings import PatchEmbedding
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, combine, join, rename, under
from headway.vision.layers import ImageTokens, ScaledProjections, TiledAttention
from headway.vision.layers.tiled_attention import PastClassToken
from headway.vision.models.features import Features
from headway.vision.models.lw_detr import LWDETR
from headway.vision.models.vit import ViT
from headway.vision.weights.hugging_face_rt_detr import activation_of
from headway.vision.weights.lw_detr_parts import (
    NAMES,
    UNREAD,
    block_names,
    blocks_of,
    describe,
    pictures,
    shared,
    tiles_of,
)


def _attention(query: str, key: str, value: str) -> list[Rule]:
    """Returns the rules of one generation of names; keys have no bias there, and one of zeros here."""

    def write(bias: Tensor) -> tuple[Tensor, Tensor]:
        first, _, last = bias.chunk(3)
        return first, last

    return [
        join("qkv.weight", [f"{one}.weight" for one in (query, key, value)]),
        combine(
            ["qkv.bias"],
            [f"{query}.bias", f"{value}.bias"],
            read=lambda one, other: torch.cat([one, torch.zeros_like(one), other]),
            write=write,
        ),
    ]


_INNER = "attention.attention."
_BLOCK = [
    *under(
        "mixer.function.",
        "",
        *_attention("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    ),
    *under("mixer.function.", "", *_attention(f"{_INNER}query", f"{_INNER}key", f"{_INNER}value")),
    rename("mixer.function.projection.*", "attention.o_proj.*", "attention.output.*"),
    rename("mixer.scale.gamma", "gamma_1"),
    rename("feedforward.scale.gamma", "gamma_2"),
    rename("mixer.norm.*", "layernorm_before.*"),
    rename("feedforward.norm.*", "layernorm_after.*"),
    rename("feedforward.function.*", "intermediate.*"),
]
_TABLE = Table(
    *under(
        "backbone.model.",
        "model.backbone.backbone.",
        rename("tokens.position.table", "embeddings.position_embeddings"),
        rename("embedding.*", "embeddings.projection.*"),
        *under("encoder.blocks.{n}.", "encoder.layer.{n}.", *_BLOCK),
    ),
    *under(
        "projections.",
        "model.backbone.projector.scale_layers.{s}.",
        rename("resized.{s}.{m}.{k}.*", "sampling_layers.{m}.layers.{k}.*"),
        rename("norms.{s}.*", "layer_norm.*"),
        *block_names("blocks.{s}.", "projector_layer."),
    ),
    *NAMES,
    prefix="model.",
)


class HuggingFaceLWDETR:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face LW-DETR"
    architectures = ("LwDetrModel", "LwDetrForObjectDetection")
    # Of transformers' LwDetrConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {}
    harmless = UNREAD
    may_miss = ("class_head.", "box_head.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of an LW-DETR."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") == "lw_detr"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        described: dict[str, Any] = config.get("backbone_config") or {}
        tiles = tiles_of(checkpoint.source, described.get("num_windows", 16))
        model = LWDETR(
            backbone=_backbone(described, tiles),
            projections=partial(
                ScaledProjections,
                scales=config.get("projector_scale_factors", ()),
                depth=config.get("c2f_num_blocks", 3),
                expansion=config.get("hidden_expansion", 0.5),
                norm=partial(nn.BatchNorm2d, eps=float(config.get("batch_norm_eps", 1e-5))),
                activation=activation_of(config.get("activation_function", "silu")),
            ),
            **shared(checkpoint, config),
        )
        side = described.get("image_size", 1024)
        model.pretrained_cfg.update(pictures(checkpoint, side=side))
        describe(model, checkpoint, config)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


def _backbone(config: dict[str, Any], tiles: int) -> Features:
    """Returns the plain vision transformer that config.json describes."""
    depth = config.get("num_hidden_layers", 10)
    within = set(config.get("window_block_indices", (0, 1, 3, 6, 7, 9)))
    dropout = float(config.get("dropout_prob", 0.0))
    bias: dict[str, Any] = {"qkv_bias": config.get("qkv_bias", True), "key_bias": False}
    bias["dropout"] = dropout
    mixers: list[Any] = [
        partial(TiledAttention, tiles=tiles, **bias)
        if place in within
        else partial(SelfAttention, **bias)
        for place in range(depth)
    ]
    dim = config.get("hidden_size", 192)
    placed = config.get("use_absolute_position_embeddings", True)
    model = ViT(
        image_size=config.get("pretrain_image_size", 224),
        num_classes=0,
        dim=dim,
        depth=depth,
        heads=config.get("num_attention_heads", 12),
        embedding=partial(
            PatchEmbedding,
            patch=config.get("patch_size", 16),
            channels=config.get("num_channels", 3),
        ),
        tokens=partial(ImageTokens, class_token=False, position=PastClassToken if placed else None),
        mixer=mixers,
        feedforward=partial(
            MLP,
            hidden_dim=int(dim * config.get("mlp_ratio", 4)),
            activation=activation_of(config.get("hidden_act", "gelu")),
            dropout=dropout,
        ),
        norm=partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-6))),
        final_norm=False,
        layer_scale=config.get("cae_init_values", 0.1),
    )
    return Features(model, blocks_of(config.get("out_indices", (2, 4, 5, 9))))


adapter = HuggingFaceLWDETR()
