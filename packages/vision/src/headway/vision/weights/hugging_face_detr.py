"""Reading DETR checkpoints of Hugging Face transformers, 4.x and 5.x."""

import re
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import PositionedCrossAttention, PositionedSelfAttention
from headway.core.reading import read_json
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, drop, join, rename, under
from headway.vision.layers import ResNet
from headway.vision.models.detr import DETR
from headway.vision.models.pretrained_cfg import MEAN_STD
from headway.vision.weights.hugging_face import ACTIVATIONS


def _block(side: str) -> list[Rule]:
    """Returns the rules of a block of the encoder or decoder."""
    return under(
        f"{side}.blocks.{{n}}.",
        f"model.{side}.layers.{{n}}.",
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


_MODELS = [
    f"model.backbone.{inner}model.{last}"
    for inner in ("conv_encoder.", "")
    for last in ("", "_backbone.")
]
# Both generations of names; the backbone has those of timm or of their own ResNet.
_TABLE = Table(
    drop("*num_batches_tracked"),
    under(
        "backbone.",
        _MODELS,
        rename("conv1.*", "embedder.embedder.convolution.*"),
        rename("bn1.*", "embedder.embedder.normalization.*"),
    ),
    under(
        "backbone.layer{s+1}.{b}.",
        [f"{model}encoder.stages.{{s}}.layers.{{b}}." for model in _MODELS],
        rename("downsample.0.*", "shortcut.convolution.*"),
        rename("downsample.1.*", "shortcut.normalization.*"),
        rename("conv{c+1}.*", "layer.{c}.convolution.*"),
        rename("bn{c+1}.*", "layer.{c}.normalization.*"),
    ),
    under("backbone.", _MODELS, rename("*", "*")),
    rename("queries", "model.query_position_embeddings.weight"),
    rename("projection.*", "model.input_projection.*"),
    rename("class_head.*", "class_labels_classifier.*"),
    rename("box_head.*", "bbox_predictor.*"),
    rename("decoder.norm.*", "model.decoder.layernorm.*"),
    _block("encoder"),
    _block("decoder"),
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
    # What the backbone is can be seen in its tensors; the rest says how it was trained.
    harmless = (
        "backbone", "backbone_config", "backbone_kwargs", "use_timm_backbone", "use_pretrained_backbone",
        "num_hidden_layers", "max_position_embeddings", "init_std", "init_xavier_std", "auxiliary_loss",
        "class_cost", "bbox_cost", "giou_cost", "mask_loss_coefficient", "dice_loss_coefficient",
        "bbox_loss_coefficient", "giou_loss_coefficient", "eos_coefficient", "classifier_dropout",
        "is_encoder_decoder",
    )  # fmt: skip
    may_miss = ("class_head.", "box_head.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a DETR."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") == "detr"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes; the backbone as its tensors are."""
        config = checkpoint.config or {}
        state = _TABLE.to_ours(checkpoint.state)
        _check(checkpoint.source, config)
        dropout = float(config.get("dropout", 0.1))
        attention: dict[str, Any] = {
            "dropout": float(config.get("attention_dropout", 0.0)),
            "out_dropout": dropout,
        }
        if "class_head.weight" in state:
            classes = len(state["class_head.weight"]) - 1
        else:  # a DetrModel without heads
            classes = len(config.get("id2label") or {}) or 91
        model = DETR(
            num_classes=classes,
            backbone=_backbone(checkpoint.source, state),
            dim=config.get("d_model", 256),
            heads=config.get("encoder_attention_heads", 8),
            queries=config.get("num_queries", 100),
            encoder_depth=config.get("encoder_layers", 6),
            decoder_depth=config.get("decoder_layers", 6),
            mixer=partial(PositionedSelfAttention, **attention),
            cross=partial(PositionedCrossAttention, **attention),
            feedforward=partial(
                MLP,
                hidden_dim=config.get("encoder_ffn_dim", 2048),
                activation=ACTIVATIONS[config.get("activation_function", "relu")],
                dropout=dropout,
            ),
        )
        mean, std = MEAN_STD["imagenet"]
        model.pretrained_cfg.update(mean=mean, std=std, **_sizes(checkpoint))
        names = config.get("id2label") or {}
        if len(names) == classes:
            model.pretrained_cfg["label_names"] = [names[str(place)] for place in range(classes)]
            # Models of all of COCO have a label for each id, those without a class too: labels are ids.
            if "N/A" in names.values():
                model.pretrained_cfg["category_ids"] = list(range(classes))
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


def _check(source: str, config: dict[str, Any]) -> None:
    """Raises for what no published DETR has."""
    if config.get("position_embedding_type", "sine") != "sine":
        raise UserError(f"{source} has learned positions of rows and columns; only sine is known")
    if config.get("dilation"):
        raise UserError(f"{source} has a dilated backbone (DC5), which ResNet here lacks")
    for name in ("attention_heads", "ffn_dim"):
        both = [config.get(f"{part}_{name}") for part in ("encoder", "decoder")]
        if both[0] != both[1]:
            raise UserError(f"{source} has another {name} in the decoder than in the encoder")
    activation = config.get("activation_function", "relu")
    if activation not in ACTIVATIONS:
        raise UserError(
            f"the activation {activation!r} is not known; known: {', '.join(ACTIVATIONS)}"
        )


def _backbone(source: str, state: dict[str, Tensor]) -> ResNet:
    """Returns the ResNet that the tensors of the backbone are of."""
    if "backbone.conv1.weight" not in state or "backbone.layer1.0.conv1.weight" not in state:
        raise UserError(f"the backbone of {source} is no ResNet; only those are read")
    depths, widths = [], []
    bottleneck = "backbone.layer1.0.conv3.weight" in state
    for stage in range(1, 1 + max(_numbers(state, r"backbone\.layer(\d+)\."))):
        depths.append(1 + max(_numbers(state, rf"backbone\.layer{stage}\.(\d+)\.")))
        last = f"backbone.layer{stage}.0.conv{3 if bottleneck else 2}.weight"
        widths.append(len(state[last]))
    first = state["backbone.conv1.weight"]
    return ResNet(
        depths=depths,
        widths=widths,
        bottleneck=bottleneck,
        stem=first.shape[0],
        channels=first.shape[1],
        # As trained: the stem and the first stage never learn.
        frozen=2,
    )


def _numbers(state: dict[str, Tensor], pattern: str) -> list[int]:
    return [int(match.group(1)) for name in state if (match := re.match(pattern, name))]


def _sizes(checkpoint: Checkpoint) -> dict[str, int]:
    """Returns the sides that pictures are resized to, where the checkpoint says so."""
    file = checkpoint.folder / "preprocessor_config.json"
    if not file.is_file():
        return {}
    size = read_json(file).get("size") or {}
    names = {"shortest_edge": "shortest", "longest_edge": "longest"}
    if not isinstance(size, dict):
        return {}
    return {ours: int(size[theirs]) for theirs, ours in names.items() if size.get(theirs)}


adapter = HuggingFaceDETR()
