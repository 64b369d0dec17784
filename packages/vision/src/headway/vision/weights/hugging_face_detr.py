"""Reading DETR checkpoints of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.mixers import PositionedCrossAttention, PositionedSelfAttention
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, drop, join, rename, under
from headway.vision.models.detr import DETR
from headway.vision.weights.detr_parts import (
    BACKBONE,
    HARMLESS,
    describe,
    dropouts,
    refuse,
    resnet,
    shared,
)


def block(side: str, *, front: str = "model.") -> list[Rule]:
    """Returns the rules of a block of the encoder or decoder.

    Args:
        side: Which of the two.
        front: In front of theirs.
    """
    return under(
        f"{side}.blocks.{{n}}.",
        f"{front}{side}.layers.{{n}}.",
        # Queries and keys of cross-attention read different tokens and stay apart.
        join("mixer.function.qk.*", ["self_attn.q_proj.*", "self_attn.k_proj.*"]),
        rename("mixer.function.v.*", "self_attn.v_proj.*"),
        rename("mixer.function.projection.*", "self_attn.out_proj.*", "self_attn.o_proj.*"),
        *(rename(f"cross.function.{part}.*", f"encoder_attn.{part}_proj.*") for part in "qkv"),
        rename("cross.function.projection.*", "encoder_attn.out_proj.*", "encoder_attn.o_proj.*"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        rename("cross.norm.*", "encoder_attn_layer_norm.*"),
        rename("feedforward.norm.*", "final_layer_norm.*"),
        rename("feedforward.function.fc{k}.*", "fc{k}.*", "mlp.fc{k}.*"),
    )


# Both generations of names; the backbone has those of timm or of their own ResNet.
_TABLE = Table(
    drop("*num_batches_tracked"),
    BACKBONE,
    rename("queries", "model.query_position_embeddings.weight"),
    rename("projection.*", "model.input_projection.*"),
    rename("class_head.*", "class_labels_classifier.*"),
    rename("box_head.*", "bbox_predictor.*"),
    rename("decoder.norm.*", "model.decoder.layernorm.*"),
    block("encoder"),
    block("decoder"),
    prefix="model.",
)


class HuggingFaceDETR:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face DETR"
    architectures = ("DetrModel", "DetrForObjectDetection")
    # Of transformers' DetrConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "num_channels": 3,
        "activation_dropout": 0.0,
        "decoder_attention_heads": 8,
        "decoder_ffn_dim": 2048,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "scale_embedding": False,
    }
    harmless = (*HARMLESS, "eos_coefficient")
    may_miss = ("class_head.", "box_head.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a DETR."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") == "detr"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes; the backbone as its tensors are."""
        config = checkpoint.config or {}
        state = _TABLE.to_ours(checkpoint.state)
        refuse(checkpoint.source, config)
        attention: dict[str, Any] = dropouts(config)
        if "class_head.weight" in state:
            classes = len(state["class_head.weight"]) - 1
        else:  # a DetrModel without heads
            classes = len(config.get("id2label") or {}) or 91
        model = DETR(
            num_classes=classes,
            backbone=resnet(checkpoint.source, state),
            queries=config.get("num_queries", 100),
            mixer=partial(PositionedSelfAttention, **attention),
            cross=partial(PositionedCrossAttention, **attention),
            **shared(config, hidden=2048),
        )
        describe(model, checkpoint)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


adapter = HuggingFaceDETR()
