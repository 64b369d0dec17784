"""Reading RF-DETR checkpoints of Hugging Face transformers, which have the names of Roboflow's own files."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import GLU, MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, drop, rename, under
from headway.vision.layers import MapNorm, ScaledProjections, TiledAttention, TiledTokens
from headway.vision.models.features import Features
from headway.vision.models.lw_detr import RFDETR
from headway.vision.models.vit import ViT
from headway.vision.weights.hugging_face import ENCODER_BLOCK
from headway.vision.weights.hugging_face_rt_detr import activation_of
from headway.vision.weights.lw_detr_parts import (
    NAMES,
    UNREAD,
    block_names,
    blocks_of,
    describe,
    pictures,
    shared,
)

TABLE = Table(
    *under(
        "backbone.model.",
        ("model.backbone.backbone.", "backbone.0.encoder.encoder."),
        rename("tokens.class_token", "embeddings.cls_token"),
        rename("tokens.position.table", "embeddings.position_embeddings"),
        rename("embedding.*", "embeddings.patch_embeddings.projection.*"),
        rename("encoder.norm.*", "layernorm.*"),
        *under("encoder.blocks.{n}.", "encoder.layer.{n}.", *ENCODER_BLOCK),
        drop("embeddings.mask_token"),
    ),
    *under(
        "projections.",
        "model.backbone.projector.",
        rename("norms.0.*", "layer_norm.*"),
        *block_names("blocks.0.", "projector_layer."),
    ),
    *under(
        "projections.",
        "backbone.0.projector.stages.{s}.",
        rename("norms.{s}.*", "1.*"),
        *under(
            "blocks.{s}.",
            "0.",
            rename("first.conv.*", "cv1.conv.*"),
            rename("first.norm.*", "cv1.bn.*"),
            rename("last.conv.*", "cv2.conv.*"),
            rename("last.norm.*", "cv2.bn.*"),
            rename("steps.{b}.0.conv.*", "m.{b}.cv1.conv.*"),
            rename("steps.{b}.0.norm.*", "m.{b}.cv1.bn.*"),
            rename("steps.{b}.1.conv.*", "m.{b}.cv2.conv.*"),
            rename("steps.{b}.1.norm.*", "m.{b}.cv2.bn.*"),
        ),
    ),
    *NAMES,
)


class HuggingFaceRFDETR:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face RF-DETR"
    architectures = ("RfDetrModel", "RfDetrForObjectDetection")
    # Of transformers' RfDetrConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {}
    harmless = (
        *UNREAD, "intermediate_size", "mask_point_sample_ratio", "mask_downsample_ratio",
        "mask_class_loss_coefficient", "mask_dice_loss_coefficient", "segmentation_head_activation_function",
        "batch_norm_eps", "projector_scale_factors",
    )  # fmt: skip
    may_miss = ("class_head.", "box_head.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of an RF-DETR."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") == "rf_detr"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        return build(checkpoint, checkpoint.config or {})

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return TABLE


def build(checkpoint: Checkpoint, config: dict[str, Any]) -> RFDETR:
    """Builds the model that a configuration in transformers' words describes.

    Args:
        checkpoint: Whose tensors and files say the rest.
        config: The configuration.

    Raises:
        UserError: If no such model is made here.
    """
    if any(name.startswith("segmentation_head.") for name in checkpoint.state):
        raise UserError(
            f"{checkpoint.source} segments, too; only RF-DETRs that find boxes are read"
        )
    described: dict[str, Any] = config.get("backbone_config") or {}
    if described.get("num_register_tokens"):
        raise UserError(f"the backbone of {checkpoint.source} has registers, which no RF-DETR has")
    tiles, patch = described.get("num_windows", 4), described.get("patch_size", 14)
    norm = partial(MapNorm, eps=float(config.get("layer_norm_eps", 1e-5)))
    model = RFDETR(
        backbone=_backbone(described, tiles, patch),
        projections=partial(
            ScaledProjections,
            depth=config.get("c2f_num_blocks", 3),
            expansion=config.get("hidden_expansion", 0.5),
            norm=norm,
            activation=activation_of(config.get("activation_function", "silu")),
        ),
        **shared(checkpoint, config),
    )
    side = config.get("resolution", described.get("image_size", 560))
    model.pretrained_cfg.update(pictures(checkpoint, side=side))
    describe(model, checkpoint, config)
    return model


def _backbone(config: dict[str, Any], tiles: int, patch: int) -> Features:
    """Returns the DINOv2 that a configuration describes."""
    depth, dim = config.get("num_hidden_layers", 12), config.get("hidden_size", 384)
    out = list(config.get("out_indices") or (2, 5, 8, 11))
    # Blocks behind the last map are built, and change nothing.
    within = set(range(out[-1] + 1)) - set(out)
    bias: dict[str, Any] = {"qkv_bias": config.get("qkv_bias", True)}
    bias["dropout"] = float(config.get("attention_probs_dropout_prob", 0.0))
    mixers: list[Any] = [
        partial(TiledAttention, tiles=tiles, **bias)
        if place in within
        else partial(SelfAttention, **bias)
        for place in range(depth)
    ]
    hidden = int(dim * config.get("mlp_ratio", 4))
    if config.get("use_swiglu_ffn"):
        feedforward: Any = partial(GLU, hidden_dim=(int(hidden * 2 / 3) + 7) // 8 * 8)
    else:
        activation = activation_of(config.get("hidden_act", "gelu"))
        feedforward = partial(MLP, hidden_dim=hidden, activation=activation)
    model = ViT(
        image_size=config.get("image_size", 518),
        num_classes=0,
        dim=dim,
        depth=depth,
        heads=config.get("num_attention_heads", 6),
        embedding=partial(PatchEmbedding, patch=patch, channels=config.get("num_channels", 3)),
        tokens=partial(TiledTokens, tiles=tiles),
        mixer=mixers,
        feedforward=feedforward,
        norm=partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-6))),
        final_norm=config.get("apply_layernorm", True),
        layer_scale=config.get("layerscale_value", 1.0),
    )
    return Features(model, blocks_of(out))


adapter = HuggingFaceRFDETR()
