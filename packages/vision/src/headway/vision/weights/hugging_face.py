"""Reading ViT, DeiT and DINOv2 checkpoints of Hugging Face transformers, 4.x and 5.x."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import GELU, GLU, MLP, QuickGELU
from headway.core.heads import ClassificationHead, TokenAveragePooling, TokenPooling
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import LearnedPosition
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Table, combine, drop, join, rename, under
from headway.vision.layers import ImageTokens
from headway.vision.models.vit import ViT
from headway.vision.models.vit_distilled import DistilledViT
from headway.vision.weights.hugging_face_processor import FILE, image_cfg, processor_config

TYPES = ("vit", "deit", "dinov2", "dinov2_with_registers")
ACTIVATIONS: dict[str, Any] = {
    "gelu": GELU,
    "gelu_new": partial(GELU, approximate="tanh"),
    "gelu_pytorch_tanh": partial(GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}
# Of every encoder that has the names of a ViT.
ENCODER_BLOCK = (
    rename("mixer.norm.*", "layernorm_before.*", "norm1.*"),
    rename("feedforward.norm.*", "layernorm_after.*", "norm2.*"),
    rename("mixer.scale.gamma", "layer_scale1.lambda1"),
    rename("feedforward.scale.gamma", "layer_scale2.lambda1"),
    join(
        "mixer.function.qkv.*",
        [f"attention.attention.{part}.*" for part in ("query", "key", "value")],
        [f"attention.{part}_proj.*" for part in "qkv"],
    ),
    rename("mixer.function.projection.*", "attention.output.dense.*", "attention.o_proj.*"),
    join(
        "feedforward.function.fc1.*",
        ["intermediate.dense.*"],
        ["mlp.fc1.*"],
        ["mlp.weights_in.*"],
        ["mlp.gate_proj.*", "mlp.up_proj.*"],
    ),
    rename(
        "feedforward.function.fc2.*",
        "output.dense.*",
        "mlp.fc2.*",
        "mlp.weights_out.*",
        "mlp.down_proj.*",
    ),
)
_REST = (
    rename("tokens.class_token", "embeddings.cls_token"),
    rename("tokens.distillation_token", "embeddings.distillation_token"),
    rename("tokens.registers", "embeddings.register_tokens"),
    rename("tokens.position.table", "embeddings.position_embeddings"),
    rename("embedding.*", "embeddings.patch_embeddings.projection.*"),
    rename("encoder.norm.*", "layernorm.*"),
    *under("encoder.blocks.{n}.", ("encoder.layer.{n}.", "layers.{n}."), *ENCODER_BLOCK),
    # Parts of the base model that no classifier reads.
    drop("embeddings.mask_token", "pooler.dense.*"),
)
# Registers have no positions there: that of the class token is folded into it.
_FOLDED = combine(
    ["tokens.class_token", "tokens.position.table"],
    ["embeddings.cls_token", "embeddings.position_embeddings"],
    read=lambda token, table: (token + table[:, :1], table[:, 1:]),
    write=lambda token, table: (token, torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)),
)
# Parts of configurations that no classifier reads: pooler, masked pictures, backbones of other models.
UNUSED = (
    "encoder_stride",
    "pooler_output_size",
    "pooler_act",
    "reshape_hidden_states",
    "use_mask_token",
    "stage_names",
    "out_features",
    "out_indices",
)


class HuggingFaceViT:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face ViT/DeiT/DINOv2"
    architectures = tuple(
        f"{kind}{task}"
        for kind in ("ViT", "DeiT", "Dinov2", "Dinov2WithRegisters")
        for task in ("Model", "ForImageClassification", "ForImageClassificationWithTeacher")
    )
    may_miss = ("head.classifier.",)
    # Of transformers' configurations, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "apply_layernorm": True,
    }
    harmless = (*UNUSED, "drop_path_rate")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of one of the models."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") in TYPES

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        classes = count_classes(checkpoint)
        architecture = (config.get("architectures") or [""])[0]
        teacher = architecture == "DeiTForImageClassificationWithTeacher"
        dino = config["model_type"].startswith("dinov2")
        norm = partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-12)))
        shared: dict[str, Any] = {
            "image_size": config.get("image_size", 224),
            "num_classes": classes,
            "dim": config["hidden_size"],
            "depth": config["num_hidden_layers"],
            "heads": config["num_attention_heads"],
            "embedding": partial(
                PatchEmbedding,
                patch=config.get("patch_size", 14 if dino else 16),
                channels=config.get("num_channels", 3),
            ),
            "tokens": partial(
                ImageTokens,
                distillation_token=config["model_type"] == "deit",
                registers=config.get("num_register_tokens", 0),
                # Registers have no positions there, and that of the class token is folded into it.
                position_on_prefix="register" not in config["model_type"],
                # Only the models with registers smooth what they shrink there.
                position=partial(LearnedPosition, antialias="register" in config["model_type"]),
            ),
            "mixer": partial(SelfAttention, qkv_bias=config.get("qkv_bias", True)),
            "feedforward": _feedforward(config),
            "norm": norm,
            "layer_scale": config.get("layerscale_value", 1.0) if dino else None,
            "drop_path": overrides.pop("drop_path", 0.0),
        }
        if teacher:
            model: ViT = DistilledViT(**shared)
        else:
            pooling = TokenAveragePooling if dino and classes else TokenPooling
            model = ViT(**shared, head=partial(ClassificationHead, pooling=pooling))
        cfg = image_cfg(checkpoint.folder, config["model_type"], model_size=shared["image_size"])
        set_pictures(model, cfg, architecture=config["model_type"])
        name_classes(model, config)
        return model

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns the JSON files of a changed model."""
        return changed_files(checkpoint, model)

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names, of both generations."""
        config = checkpoint.config or {}
        prefix = f"{config['model_type']}."
        folded = [_FOLDED] if config.get("num_register_tokens", 0) else []
        return Table(
            under("", prefix, *folded, *_REST),
            rename("head.classifier.*", "classifier.*", "cls_classifier.*"),
            rename("distillation_classifier.*", "distillation_classifier.*"),
            prefix=prefix,
        )


def count_classes(checkpoint: Checkpoint) -> int:
    """Returns for how many classes the checkpoint has a classifier."""
    for name in ("classifier.weight", "cls_classifier.weight"):
        if name in checkpoint.state:
            return len(checkpoint.state[name])
    return 0


def set_pictures(model: Any, cfg: dict[str, Any], *, architecture: str) -> None:
    """Writes what pictures go through into the ``pretrained_cfg`` of a model.

    Args:
        model: A ViT or a Swin.
        cfg: From ``image_cfg``.
        architecture: Named there.
    """
    channels = model.embedding.channels
    size = cfg.pop("size")
    model.pretrained_cfg.update(cfg, architecture=architecture, input_size=(channels, *size))


def name_classes(model: Any, config: Mapping[str, Any]) -> None:
    """Writes the names of the classes into ``pretrained_cfg``, where a file has one for each."""
    names = config.get("id2label") or {}
    if len(names) == model.num_classes:
        labels = [names[str(place)] for place in range(model.num_classes)]
        model.pretrained_cfg["label_names"] = labels


def changed_files(
    checkpoint: Checkpoint, model: Any, *, published: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Returns the JSON files of a folder of transformers with what a changed classifier says otherwise.

    Args:
        checkpoint: The published one.
        model: The classifier.
        published: As in ``image_cfg``.
    """
    cfg = model.pretrained_cfg
    channels, *sides = cfg["input_size"]
    square = sides[0] == sides[1] and not isinstance(
        (checkpoint.config or {}).get("image_size"), list
    )
    size = sides[0] if square else sides
    sizes = {"image_size": (size, 224), "num_channels": (channels, 3)}
    config = with_changes(checkpoint.config, sizes)
    names = cfg.get("label_names") or [f"LABEL_{place}" for place in range(model.num_classes)]
    known = list((config.get("id2label") or {}).values())
    if model.num_classes and (len(known) != len(names) or cfg.get("label_names", known) != known):
        config["id2label"] = {str(place): name for place, name in enumerate(names)}
        config["label2id"] = {name: place for place, name in enumerate(names)}
    usual = image_cfg(
        checkpoint.folder,
        config["model_type"],
        model_size=(checkpoint.config or {}).get("image_size", 224),
        published=published,
    )
    now = {**{key: cfg.get(key) for key in usual}, "size": tuple(sides)}
    files = {"config.json": config}
    return files if now == usual else {**files, FILE: processor_config(now)}


def _feedforward(config: dict[str, Any]) -> Any:
    dim = config["hidden_size"]
    name = config.get("hidden_act", "gelu")  # a gated one has silu, whatever the file says
    if config["model_type"].startswith("dinov2"):
        hidden = int(dim * config.get("mlp_ratio", 4.0))
        if config.get("use_swiglu_ffn"):
            return partial(GLU, hidden_dim=(int(hidden * 2 / 3) + 7) // 8 * 8)
    else:
        hidden = config.get("intermediate_size", 4 * dim)
    if name not in ACTIVATIONS:
        raise UserError(f"the activation {name!r} is not known; known: {', '.join(ACTIVATIONS)}")
    return partial(MLP, hidden_dim=hidden, activation=ACTIVATIONS[name])


adapter = HuggingFaceViT()
