"""Reading EoMT checkpoints of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import GLU, MLP
from headway.core.norms import LayerNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Reshaped, Table, drop, join, rename, under
from headway.vision.layers import ImageTokens
from headway.vision.models.eomt import EoMT
from headway.vision.models.vit import ViT
from headway.vision.weights.detr_parts import describe
from headway.vision.weights.hugging_face import ACTIVATIONS
from headway.vision.weights.mask_parts import HARMLESS

# A table of positions has no batch there.
_UNBATCHED = Reshaped(lambda value: value[None], lambda value: value[0])
_TABLE = Table(
    drop("criterion.empty_weight", "embeddings.mask_token"),
    rename("masked", "attn_mask_probs"),
    rename("queries", "query.weight"),
    rename("backbone.tokens.class_token", "embeddings.cls_token"),
    rename("backbone.tokens.registers", "embeddings.register_tokens"),
    rename(
        "backbone.tokens.position.table", "embeddings.position_embeddings.weight", form=_UNBATCHED
    ),
    rename("backbone.embedding.*", "embeddings.patch_embeddings.projection.*"),
    rename("backbone.encoder.norm.*", "layernorm.*"),
    under(
        "backbone.encoder.blocks.{n}.",
        "layers.{n}.",
        rename("mixer.norm.*", "norm1.*"),
        rename("mixer.scale.gamma", "layer_scale1.lambda1"),
        join("mixer.function.qkv.*", [f"attention.{part}_proj.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "attention.out_proj.*", "attention.o_proj.*"),
        rename("feedforward.norm.*", "norm2.*"),
        rename("feedforward.scale.gamma", "layer_scale2.lambda1"),
        join(
            "feedforward.function.fc1.*",
            ["mlp.fc1.*"],
            ["mlp.weights_in.*"],
            ["mlp.gate_proj.*", "mlp.up_proj.*"],
        ),
        rename("feedforward.function.fc2.*", "mlp.fc2.*", "mlp.weights_out.*", "mlp.down_proj.*"),
    ),
    under(
        "upscale.{n}.",
        "upscale_block.block.{n}.",
        rename("grow.*", "conv1.*"),
        rename("mix.*", "conv2.*"),
        rename("norm.*", "layernorm2d.*"),
    ),
    rename("mask_head.layers.{n}.*", "mask_head.fc{n+1}.*"),
    rename("class_head.*", "class_predictor.*"),
)


class HuggingFaceEoMT:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face EoMT"
    architectures = ("EomtForUniversalSegmentation",)
    # Of transformers' EomtConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {"hidden_dropout_prob": 0.0, "attention_dropout": 0.0}
    harmless = (*HARMLESS, "drop_path_rate")
    may_miss = ("class_head.", "masked")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of an EoMT."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") == "eomt"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        dim, name = config.get("hidden_size", 1024), config.get("hidden_act", "gelu")
        if name not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise UserError(f"the activation {name!r} is not known; known: {known}")
        hidden = int(dim * config.get("mlp_ratio", 4))
        feedforward: Any = partial(MLP, hidden_dim=hidden, activation=ACTIVATIONS[name])
        if config.get("use_swiglu_ffn"):
            feedforward = partial(GLU, hidden_dim=(int(hidden * 2 / 3) + 7) // 8 * 8)
        vit = ViT(
            image_size=config.get("image_size", 640),
            num_classes=0,
            dim=dim,
            depth=config.get("num_hidden_layers", 24),
            heads=config.get("num_attention_heads", 16),
            embedding=partial(
                PatchEmbedding,
                patch=config.get("patch_size", 16),
                channels=config.get("num_channels", 3),
            ),
            tokens=partial(
                ImageTokens,
                registers=config.get("num_register_tokens", 4),
                position_on_prefix=False,
            ),
            feedforward=feedforward,
            norm=partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-6))),
            layer_scale=float(config.get("layerscale_value", 1.0)),
            drop_path=overrides.pop("drop_path", 0.0),
        )
        head = checkpoint.state.get("class_predictor.weight")
        classes = len(head) - 1 if head is not None else len(config.get("id2label") or {}) or 133
        model = EoMT(
            num_classes=classes,
            backbone=vit,
            queries=config.get("num_queries", 200),
            joint=config.get("num_blocks", 4),
            upscales=config.get("num_upscale_blocks", 2),
            activation=ACTIVATIONS[name],
        )
        describe(model, checkpoint)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


adapter = HuggingFaceEoMT()
