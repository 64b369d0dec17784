"""Reading Swin checkpoints of Hugging Face transformers, 4.x and 5.x."""

import re
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.renaming import Renaming, join_sections
from headway.vision.models.swin import Swin
from headway.vision.models.swin_variants import window_mixers
from headway.vision.weights.hugging_face import (
    ACTIVATIONS,
    UNUSED,
    count_classes,
    name_classes,
    set_pictures,
)
from headway.vision.weights.hugging_face_processor import picture_cfg

_BLOCK = r"^encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_OURS = r"stages.\1.blocks.\2."
# Theirs, after the prefix of the base model -> ours. Both generations of names.
_RENAMING = Renaming(
    [
        (r"^embeddings\.patch_embeddings\.projection\.", "embedding."),
        (r"^embeddings\.norm\.", "embedding.norm."),
        (r"^layernorm\.", "norm."),
        (r"^classifier\.", "head.classifier."),
        (_BLOCK + r"layernorm_before\.", _OURS + "mixer.norm."),
        (_BLOCK + r"layernorm_after\.", _OURS + "feedforward.norm."),
        (
            _BLOCK + r"attention\.(?:self|relative_position_bias)\.relative_position_bias_table$",
            _OURS + "mixer.function.position.table",
        ),
        (_BLOCK + r"attention\.(?:self\.query|q_proj)\.", _OURS + "mixer.function.q."),
        (_BLOCK + r"attention\.(?:self\.key|k_proj)\.", _OURS + "mixer.function.k."),
        (_BLOCK + r"attention\.(?:self\.value|v_proj)\.", _OURS + "mixer.function.v."),
        (_BLOCK + r"attention\.(?:output\.dense|o_proj)\.", _OURS + "mixer.function.projection."),
        (_BLOCK + r"(?:intermediate\.dense|mlp\.fc1)\.", _OURS + "feedforward.function.fc1."),
        (_BLOCK + r"(?:output\.dense|mlp\.fc2)\.", _OURS + "feedforward.function.fc2."),
    ]
)
_MERGING = re.compile(r"^encoder\.layers\.(\d+)\.downsample\.(reduction|norm)\.")


class HuggingFaceSwin:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face Swin"
    architectures = ("SwinModel", "SwinForImageClassification")
    may_miss = ("head.classifier.",)
    # Of transformers' SwinConfig, for what is not read here; rates are those of training.
    defaults: ClassVar[dict[str, Any]] = {
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    harmless = (*UNUSED, "drop_path_rate", "num_layers", "hidden_size")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a Swin."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") == "swin"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        if config.get("use_absolute_embeddings"):
            raise UserError(
                f"{checkpoint.source} has absolute position embeddings, which the published Swin "
                "models and this one lack"
            )
        activation = config.get("hidden_act", "gelu")
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise UserError(f"the activation {activation!r} is not known; known: {known}")
        depths = config.get("depths", [2, 2, 6, 2])
        window = config.get("window_size", 7)
        # Only the norms of the blocks have an epsilon of their own there.
        plain = partial(LayerNorm, eps=1e-5)
        model = Swin(
            image_size=config.get("image_size", 224),
            num_classes=count_classes(checkpoint),
            dim=config.get("embed_dim", 96),
            depths=depths,
            heads=config.get("num_heads", [3, 6, 12, 24]),
            embedding=partial(
                PatchEmbedding,
                patch=config.get("patch_size", 4),
                channels=config.get("num_channels", 3),
                norm=plain,
                remainder="pad",
            ),
            mixer=window_mixers(
                [(window, window)] * len(depths), depths, qkv_bias=config.get("qkv_bias", True)
            ),
            feedforward=partial(
                MLP, mlp_ratio=config.get("mlp_ratio", 4.0), activation=ACTIVATIONS[activation]
            ),
            norm=partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-5))),
            resampler=partial(PatchMerging, norm=plain),
            drop_path=overrides.pop("drop_path", 0.0),
            head=partial(ClassificationHead, pooling=AveragePooling),
        )
        cfg = picture_cfg(checkpoint.folder, "swin", model_size=config.get("image_size", 224))
        set_pictures(model, cfg, architecture="swin")
        name_classes(model, config)
        return model

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Renames the tensors and joins queries, keys and values."""
        converted: dict[str, Tensor] = {}
        for name, value in checkpoint.state.items():
            inner = name.removeprefix("swin.")
            # The position index follows from the window; a mask token is of no use afterwards.
            if not inner.endswith(("relative_position_index", "mask_token")):
                converted[_rename(inner)] = value
        join_sections(converted, "qkv", ("q", "k", "v"))
        return converted


def _rename(name: str) -> str:
    if match := _MERGING.match(name):
        # There a stage ends with the merging that leads to the next one.
        kind = "projection" if match.group(2) == "reduction" else "norm"
        rest = name[match.end() :]
        return f"stages.{int(match.group(1)) + 1}.downsample.{kind}.{rest}"
    return _RENAMING(name)


adapter = HuggingFaceSwin()
