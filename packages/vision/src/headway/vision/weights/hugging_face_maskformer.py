"""Reading MaskFormer checkpoints of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import PositionedCrossAttention, PositionedSelfAttention
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, drop, rename, under
from headway.vision.models.maskformer import MaskFormer
from headway.vision.weights.detr_parts import describe, dropouts
from headway.vision.weights.hugging_face import ACTIVATIONS
from headway.vision.weights.hugging_face_detr import block
from headway.vision.weights.mask_parts import BACKBONE, HARMLESS, swin_maps

_TABLE = Table(
    drop("criterion.empty_weight"),
    BACKBONE,
    under(
        "pixels.",
        "model.pixel_level_module.decoder.",
        rename("first.conv.weight", "fpn.stem.0.weight"),
        rename("first.norm.*", "fpn.stem.1.*"),
        rename("up.{n}.lateral.conv.weight", "fpn.layers.{n}.proj.0.weight"),
        rename("up.{n}.lateral.norm.*", "fpn.layers.{n}.proj.1.*"),
        rename("up.{n}.out.conv.weight", "fpn.layers.{n}.block.0.weight"),
        rename("up.{n}.out.norm.*", "fpn.layers.{n}.block.1.*"),
        rename("mask_projection.*", "mask_projection.*"),
    ),
    rename("queries", "model.transformer_module.queries_embedder.weight"),
    rename("projection.*", "model.transformer_module.input_projection.*"),
    rename("decoder.norm.*", "model.transformer_module.decoder.layernorm.*"),
    block("decoder", front="model.transformer_module."),
    rename("class_head.*", "class_predictor.*"),
    rename("mask_head.layers.{n}.*", "mask_embedder.{n}.0.*"),
    prefix="model.",
)


class HuggingFaceMaskFormer:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face MaskFormer"
    architectures = ("MaskFormerModel", "MaskFormerForInstanceSegmentation")
    # Of transformers' MaskFormerConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {}
    harmless = (*HARMLESS, "cross_entropy_weight")
    may_miss = ("class_head.", "mask_head.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a MaskFormer."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") == "maskformer"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        decoder = config.get("decoder_config") or {}
        activation = decoder.get("activation_function", "relu")
        if decoder.get("model_type", "detr") != "detr" or activation not in ACTIVATIONS:
            raise UserError(
                f"the decoder of {checkpoint.source} is {decoder.get('model_type')!r} with the activation "
                f"{activation!r}; only DETR's is read, with {', '.join(ACTIVATIONS)}"
            )
        if decoder.get("auxiliary_loss"):
            raise UserError(
                f"{checkpoint.source} has auxiliary_loss in its decoder_config, which norms tokens between "
                "blocks there; no published one has it"
            )
        head = checkpoint.state.get("class_predictor.weight")
        classes = len(head) - 1 if head is not None else len(config.get("id2label") or {}) or 150
        mixing: dict[str, Any] = dropouts(decoder)
        model = MaskFormer(
            num_classes=classes,
            backbone=swin_maps(checkpoint, overrides.pop("drop_path", 0.0)),
            dim=decoder.get("d_model", 256),
            pixel_dim=config.get("fpn_feature_size", 256),
            mask_dim=config.get("mask_feature_size", 256),
            heads=decoder.get("decoder_attention_heads", 8),
            queries=decoder.get("num_queries", 100),
            depth=decoder.get("decoder_layers", 6),
            mixer=partial(PositionedSelfAttention, **mixing),
            cross=partial(PositionedCrossAttention, **mixing),
            feedforward=partial(
                MLP,
                hidden_dim=decoder.get("decoder_ffn_dim", 2048),
                activation=ACTIVATIONS[activation],
                dropout=mixing["out_dropout"],
            ),
        )
        describe(model, checkpoint)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


adapter = HuggingFaceMaskFormer()
