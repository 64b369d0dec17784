"""Reading Conditional DETR checkpoints of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.mixers import PositionedSelfAttention
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, drop, rename, under
from headway.vision.layers.conditional_attention import (
    ConditionalCrossAttention,
    ConditionalSelfAttention,
)
from headway.vision.models.conditional_detr import ConditionalDETR
from headway.vision.weights.detr_parts import (
    BACKBONE,
    HARMLESS,
    describe,
    dropouts,
    refuse,
    resnet,
    shared,
)
from headway.vision.weights.hugging_face_detr import block

# Ours, and the names of 4.x and 5.x.
_MIXER = {"q": ("qcontent", "q_content"), "q_place": ("qpos", "q_pos"), "k": ("kcontent", "k_content"),
          "k_place": ("kpos", "k_pos"), "v": ("v", "v"), "q_sine": ("qpos_sine", "q_pos_sine")}  # fmt: skip


def _attention(ours: str, old: str, new: str) -> list[Any]:
    return [
        *(
            rename(f"{ours}.function.{name}.*", f"{old}_{four}_proj.*", f"{new}.{five}_proj.*")
            for name, (four, five) in _MIXER.items()
        ),
        rename(f"{ours}.function.projection.*", f"{new}.out_proj.*", f"{new}.o_proj.*"),
        rename(f"{ours}.norm.*", f"{new}_layer_norm.*"),
    ]


_TABLE = Table(
    drop("*num_batches_tracked"),
    BACKBONE,
    rename("queries", "model.query_position_embeddings.weight"),
    rename("projection.*", "model.input_projection.*"),
    rename("class_head.*", "class_labels_classifier.*"),
    rename("box_head.*", "bbox_predictor.*"),
    rename("decoder.norm.*", "model.decoder.layernorm.*"),
    rename("reference.{2n}.*", "model.decoder.ref_point_head.layers.{n}.*"),
    rename("query_scale.{2n}.*", "model.decoder.query_scale.layers.{n}.*"),
    block("encoder"),
    under(
        "decoder.blocks.{n}.",
        "model.decoder.layers.{n}.",
        *_attention("mixer", "sa", "self_attn"),
        *_attention("cross", "ca", "encoder_attn"),
        rename("feedforward.norm.*", "final_layer_norm.*"),
        rename("feedforward.function.fc{k}.*", "fc{k}.*", "mlp.fc{k}.*"),
    ),
    prefix="model.",
)


class HuggingFaceConditionalDETR:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face Conditional DETR"
    architectures = ("ConditionalDetrModel", "ConditionalDetrForObjectDetection")
    # Of transformers' ConditionalDetrConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "num_channels": 3,
        "activation_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "scale_embedding": False,
    }
    harmless = (*HARMLESS, "cls_loss_coefficient", "focal_alpha")
    may_miss = ("class_head.", "box_head.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a Conditional DETR."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "conditional_detr"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes; the backbone as its tensors are."""
        config = checkpoint.config or {}
        state = _TABLE.to_ours(checkpoint.state)
        refuse(checkpoint.source, config)
        attention: dict[str, Any] = dropouts(config)
        if "class_head.weight" in state:
            classes = len(state["class_head.weight"])
        else:  # a ConditionalDetrModel without heads
            classes = len(config.get("id2label") or {}) or 91
        model = ConditionalDETR(
            num_classes=classes,
            backbone=resnet(checkpoint.source, state),
            queries=config.get("num_queries", 300),
            mixer=partial(PositionedSelfAttention, **attention),
            between=partial(ConditionalSelfAttention, **attention),
            cross=partial(ConditionalCrossAttention, **attention),
            **shared(config, hidden=2048),
        )
        describe(model, checkpoint)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


adapter = HuggingFaceConditionalDETR()
