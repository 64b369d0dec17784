"""Reading YOLOS checkpoints of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, combine, drop, rename, under
from headway.vision.models.yolos import YOLOS
from headway.vision.weights.detr_parts import HARMLESS, describe
from headway.vision.weights.hugging_face import ACTIVATIONS, ENCODER_BLOCK

_REST = (
    rename("class_head.*", "class_labels_classifier.*"),
    rename("box_head.*", "bbox_predictor.*"),
    *under(
        "",
        "vit.",
        rename("tokens.class_token", "embeddings.cls_token"),
        rename("tokens.registers", "embeddings.detection_tokens"),
        rename("embedding.*", "embeddings.patch_embeddings.projection.*"),
        rename("encoder.norm.*", "layernorm.*"),
        *under("encoder.blocks.{n}.", "encoder.layer.{n}.", *ENCODER_BLOCK),
        drop("pooler.dense.*"),
    ),
)
# Of transformers 5 and of 4.
_BETWEEN = (
    "vit.encoder.interpolation.mid_position_embeddings",
    "vit.encoder.mid_position_embeddings",
)


class HuggingFaceYOLOS:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face YOLOS"
    architectures = ("YolosModel", "YolosForObjectDetection")
    # Of transformers' YolosConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {}
    harmless = (*HARMLESS, "eos_coefficient")
    may_miss = ("class_head.", "box_head.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a YOLOS."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") == "yolos"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        activation = config.get("hidden_act", "gelu")
        if activation not in ACTIVATIONS:
            raise UserError(
                f"the activation {activation!r} is not known; known: {', '.join(ACTIVATIONS)}"
            )
        dropout = float(config.get("hidden_dropout_prob", 0.0))
        last = checkpoint.state.get("class_labels_classifier.layers.2.weight")
        # Files without heads say it by their names of classes.
        classes = len(config.get("id2label") or {}) or 91
        depth = config.get("num_hidden_layers", 12)
        model = YOLOS(
            num_classes=classes if last is None else len(last) - 1,
            image_size=config.get("image_size", (512, 864)),
            dim=config.get("hidden_size", 768),
            depth=depth,
            heads=config.get("num_attention_heads", 12),
            queries=config.get("num_detection_tokens", 100),
            between=config.get("use_mid_position_embeddings", True) and depth > 1,
            embedding=partial(
                PatchEmbedding,
                patch=config.get("patch_size", 16),
                channels=config.get("num_channels", 3),
                remainder="drop",
            ),
            mixer=partial(
                SelfAttention,
                qkv_bias=config.get("qkv_bias", True),
                dropout=float(config.get("attention_probs_dropout_prob", 0.0)),
                out_dropout=dropout,
            ),
            feedforward=partial(
                MLP,
                hidden_dim=config.get("intermediate_size", 3072),
                activation=ACTIVATIONS[activation],
                dropout=dropout,
            ),
            norm=partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-12))),
        )
        describe(model, checkpoint)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; detection tokens stand behind the patches there, and in front of them here."""
        assert isinstance(model, YOLOS)
        queries, after = model.queries, len(model.between)

        def read(table: Tensor) -> Tensor:
            first, patches, last = table.tensor_split([1, table.shape[-2] - queries], dim=-2)
            return torch.cat([first, last, patches], dim=-2)

        def write(table: Tensor) -> Tensor:
            first, last, patches = table.tensor_split([1, 1 + queries], dim=-2)
            return torch.cat([first, patches, last], dim=-2)

        rules = [
            combine(
                ["tokens.position.table"],
                ["vit.embeddings.position_embeddings"],
                read=read,
                write=lambda table: (write(table),),
            ),
            *(
                combine(
                    [f"between.{place}.table" for place in range(after)],
                    [name],
                    read=lambda tables: tuple(read(tables).unbind()),
                    write=lambda *tables: (write(torch.stack(tables)),),
                )
                for name in (_BETWEEN if after else ())
            ),
        ]
        return Table(*rules, *_REST, prefix="vit.")


adapter = HuggingFaceYOLOS()
