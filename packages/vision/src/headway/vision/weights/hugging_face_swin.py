"""Reading Swin checkpoints of Hugging Face transformers, 4.x and 5.x."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, drop, join, rename, under
from headway.vision.models.swin import Swin
from headway.vision.models.swin_variants import window_mixers
from headway.vision.weights.hugging_face import (
    ACTIVATIONS,
    UNUSED,
    changed_files,
    count_classes,
    name_classes,
    set_pictures,
)
from headway.vision.weights.hugging_face_processor import image_cfg

# Both generations of names.
SWIN: list[Rule] = [
    rename("embedding.norm.*", "embeddings.norm.*"),
    rename("embedding.*", "embeddings.patch_embeddings.projection.*"),
    rename("norm.*", "layernorm.*"),
    # There a stage ends with the merging that leads to the next one.
    rename("stages.{s+1}.downsample.projection.*", "encoder.layers.{s}.downsample.reduction.*"),
    rename("stages.{s+1}.downsample.norm.*", "encoder.layers.{s}.downsample.norm.*"),
    *under(
        "stages.{s}.blocks.{b}.",
        "encoder.layers.{s}.blocks.{b}.",
        rename("mixer.norm.*", "layernorm_before.*"),
        rename("feedforward.norm.*", "layernorm_after.*"),
        rename(
            "mixer.function.position.table",
            "attention.self.relative_position_bias_table",
            "attention.relative_position_bias.relative_position_bias_table",
        ),
        join(
            "mixer.function.qkv.*",
            [f"attention.self.{part}.*" for part in ("query", "key", "value")],
            [f"attention.{part}_proj.*" for part in "qkv"],
        ),
        rename("mixer.function.projection.*", "attention.output.dense.*", "attention.o_proj.*"),
        rename("feedforward.function.fc1.*", "intermediate.dense.*", "mlp.fc1.*"),
        rename("feedforward.function.fc2.*", "output.dense.*", "mlp.fc2.*"),
    ),
]
_TABLE = Table(
    under("", "swin.", *SWIN),
    rename("head.classifier.*", "classifier.*"),
    # The position index follows from the window; a mask token is of no use afterwards.
    drop("*relative_position_index", "*mask_token"),
    prefix="swin.",
)


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
        model = swin(
            checkpoint.source,
            config,
            num_classes=count_classes(checkpoint),
            drop_path=overrides.pop("drop_path", 0.0),
        )
        cfg = image_cfg(checkpoint.folder, "swin", model_size=config.get("image_size", 224))
        set_pictures(model, cfg, architecture="swin")
        name_classes(model, config)
        return model

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns the JSON files of a changed model."""
        return changed_files(checkpoint, model)

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


def swin(source: str, config: Mapping[str, Any], *, shrink: bool = True, **options: Any) -> Swin:
    """Returns the model that a configuration describes.

    Args:
        source: Names the checkpoint.
        config: What config.json says of a Swin.
        shrink: Of its ``WindowAttention``.
        **options: Further arguments of ``Swin``.

    Raises:
        UserError: If there is no such model here.
    """
    if config.get("use_absolute_embeddings"):
        raise UserError(
            f"{source} has absolute position embeddings, which the published Swin models and this one lack"
        )
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise UserError(f"the activation {activation!r} is not known; known: {known}")
    depths = config.get("depths", [2, 2, 6, 2])
    window = config.get("window_size", 7)
    # Only the norms of the blocks have an epsilon of their own there.
    plain = partial(LayerNorm, eps=1e-5)
    return Swin(
        image_size=config.get("image_size", 224),
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
            [(window, window)] * len(depths),
            depths,
            qkv_bias=config.get("qkv_bias", True),
            shrink=shrink,
        ),
        feedforward=partial(
            MLP, mlp_ratio=config.get("mlp_ratio", 4.0), activation=ACTIVATIONS[activation]
        ),
        norm=partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-5))),
        resampler=partial(PatchMerging, norm=plain),
        head=partial(ClassificationHead, pooling=AveragePooling),
        **options,
    )


adapter = HuggingFaceSwin()
