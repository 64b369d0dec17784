"""Reading ViT, DeiT and DINOv2 checkpoints of Hugging Face transformers, 4.x and 5.x."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import GELU, GLU, MLP, QuickGELU
from headway.core.heads import ClassificationHead, TokenAveragePooling, TokenPooling
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import LearnedPosition
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.renaming import Renaming, join_sections
from headway.vision.layers import ImageTokens
from headway.vision.models.vit import ViT
from headway.vision.models.vit_distilled import DistilledViT
from headway.vision.weights.hugging_face_processor import picture_cfg

TYPES = ("vit", "deit", "dinov2", "dinov2_with_registers")
ACTIVATIONS: dict[str, Any] = {
    "gelu": GELU,
    "gelu_new": partial(GELU, approximate="tanh"),
    "gelu_pytorch_tanh": partial(GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}
# Theirs, after the prefix of the base model -> ours. Both generations of names.
_RULES = [
    (r"^embeddings\.cls_token$", "tokens.class_token"),
    (r"^embeddings\.distillation_token$", "tokens.distillation_token"),
    (r"^embeddings\.register_tokens$", "tokens.registers"),
    (r"^embeddings\.position_embeddings$", "tokens.position.table"),
    (r"^embeddings\.patch_embeddings\.projection\.", "embedding."),
    (r"^layernorm\.", "encoder.norm."),
    (r"^layers\.", "encoder.layer."),
    (r"^encoder\.layer\.(\d+)\.(?:layernorm_before|norm1)\.", r"encoder.blocks.\1.mixer.norm."),
    (
        r"^encoder\.layer\.(\d+)\.(?:layernorm_after|norm2)\.",
        r"encoder.blocks.\1.feedforward.norm.",
    ),
    (r"^encoder\.layer\.(\d+)\.layer_scale1\.lambda1$", r"encoder.blocks.\1.mixer.scale.gamma"),
    (
        r"^encoder\.layer\.(\d+)\.layer_scale2\.lambda1$",
        r"encoder.blocks.\1.feedforward.scale.gamma",
    ),
    (
        r"^encoder\.layer\.(\d+)\.attention\.(?:attention\.(query|key|value)|([qkv])_proj)\.",
        r"encoder.blocks.\1.mixer.function.\2\3.",
    ),
    (
        r"^encoder\.layer\.(\d+)\.attention\.(?:output\.dense|o_proj)\.",
        r"encoder.blocks.\1.mixer.function.projection.",
    ),
    (
        r"^encoder\.layer\.(\d+)\.(?:intermediate\.dense|mlp\.fc1|mlp\.weights_in)\.",
        r"encoder.blocks.\1.feedforward.function.fc1.",
    ),
    (
        r"^encoder\.layer\.(\d+)\.(?:output\.dense|mlp\.fc2|mlp\.weights_out|mlp\.down_proj)\.",
        r"encoder.blocks.\1.feedforward.function.fc2.",
    ),
    (r"^encoder\.layer\.(\d+)\.mlp\.gate_proj\.", r"encoder.blocks.\1.feedforward.function.gate."),
    (r"^encoder\.layer\.(\d+)\.mlp\.up_proj\.", r"encoder.blocks.\1.feedforward.function.value."),
    (r"^(?:cls_)?classifier\.", "head.classifier."),
]
_NAMES = Renaming(_RULES)
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
# Parts of the base model that no classifier reads.
IGNORED = ("embeddings.mask_token", "pooler.dense.weight", "pooler.dense.bias")


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
                # Registers have no positions there: that of the class token is folded into it.
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
        cfg = picture_cfg(checkpoint.folder, config["model_type"], model_size=shared["image_size"])
        set_pictures(model, cfg, architecture=config["model_type"])
        name_classes(model, config)
        return model

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Renames the tensors and joins queries, keys and values."""
        config = checkpoint.config or {}
        prefix = f"{config['model_type']}."
        converted: dict[str, Tensor] = {}
        for name, value in checkpoint.state.items():
            inner = name.removeprefix(prefix)
            if inner not in IGNORED:
                converted[_rename(inner)] = value
        for joined, parts in (("qkv", ("q", "k", "v")), ("fc1", ("gate", "value"))):
            join_sections(converted, joined, parts)
        if config.get("num_register_tokens", 0) and "tokens.position.table" in converted:
            table = converted["tokens.position.table"]
            converted["tokens.class_token"] = converted["tokens.class_token"] + table[:, :1]
            converted["tokens.position.table"] = table[:, 1:]
        return converted


def _rename(name: str) -> str:
    name = _NAMES(name)
    for theirs, ours in ((".query.", ".q."), (".key.", ".k.")):
        name = name.replace(f"function{theirs}", f"function{ours}")
    return name.replace("mixer.function.value.", "mixer.function.v.")


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
        cfg: From ``picture_cfg``.
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
