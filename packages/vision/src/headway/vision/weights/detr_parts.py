"""What checkpoints of transformers of the DETR family share: backbone, pictures, names of classes."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.reading import read_json
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, combine, rename, under
from headway.vision.layers import ResNet
from headway.vision.models.pretrained_cfg import MEAN_STD
from headway.vision.models.with_classes import WithClasses
from headway.vision.weights.hugging_face import ACTIVATIONS

_MODELS = [
    f"model.backbone.{inner}model.{last}"
    for inner in ("conv_encoder.", "")
    for last in ("", "_backbone.")
]
# Both generations of names; the backbone has those of timm or of their own ResNet.
BACKBONE: list[Rule] = [
    *under(
        "backbone.",
        _MODELS,
        rename("conv1.*", "embedder.embedder.convolution.*"),
        rename("bn1.*", "embedder.embedder.normalization.*"),
    ),
    *under(
        "backbone.layer{s+1}.{b}.",
        [f"{model}encoder.stages.{{s}}.layers.{{b}}." for model in _MODELS],
        rename("downsample.0.*", "shortcut.convolution.*"),
        rename("downsample.1.*", "shortcut.normalization.*"),
        rename("conv{c+1}.*", "layer.{c}.convolution.*"),
        rename("bn{c+1}.*", "layer.{c}.normalization.*"),
    ),
    *under("backbone.", _MODELS, rename("*", "*")),
]

# What the backbone is can be seen in its tensors; the rest says how a DETR was trained.
HARMLESS: tuple[str, ...] = (
    "backbone", "backbone_config", "backbone_kwargs", "use_timm_backbone", "use_pretrained_backbone",
    "num_hidden_layers", "max_position_embeddings", "init_std", "init_xavier_std", "auxiliary_loss",
    "class_cost", "bbox_cost", "giou_cost", "mask_loss_coefficient", "dice_loss_coefficient",
    "bbox_loss_coefficient", "giou_loss_coefficient", "is_encoder_decoder", "classifier_dropout",
)  # fmt: skip


def shared(config: dict[str, Any], *, hidden: int) -> dict[str, Any]:
    """Returns the arguments that all detectors of the family read alike.

    Args:
        config: The configuration.
        hidden: Width of the feed-forwards where it is not said.
    """
    return {
        "dim": config.get("d_model", 256),
        "heads": config.get("encoder_attention_heads", 8),
        "encoder_depth": config.get("encoder_layers", 6),
        "decoder_depth": config.get("decoder_layers", 6),
        "feedforward": partial(
            MLP,
            hidden_dim=config.get("encoder_ffn_dim", hidden),
            activation=ACTIVATIONS[config.get("activation_function", "relu")],
            dropout=float(config.get("dropout", 0.1)),
        ),
    }


def dropouts(config: dict[str, Any]) -> dict[str, float]:
    """Returns the dropouts of a mixer."""
    return {
        "dropout": float(config.get("attention_dropout", 0.0)),
        "out_dropout": float(config.get("dropout", 0.1)),
    }


def refuse(source: str, config: dict[str, Any]) -> None:
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


def resnet(source: str, state: dict[str, Tensor], *, out_indices: Sequence[int] = (-1,)) -> ResNet:
    """Returns the ResNet that the tensors of the backbone are of.

    Args:
        source: Names the checkpoint.
        state: Tensors under our names.
        out_indices: Which stages give maps.

    Raises:
        UserError: If it is none.
    """
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
        out_indices=out_indices,
        # As trained: the stem and the first stage never learn.
        frozen=2,
    )


def _numbers(state: dict[str, Tensor], pattern: str) -> list[int]:
    return [int(match.group(1)) for name in state if (match := re.match(pattern, name))]


def picture_sizes(checkpoint: Checkpoint) -> dict[str, int]:
    """Returns the sides that pictures are resized to, where the checkpoint says so."""
    file = checkpoint.folder / "preprocessor_config.json"
    if not file.is_file():
        return {}
    told = read_json(file)
    size = told.get("size") or {}
    names = {"shortest_edge": "shortest", "longest_edge": "longest"}
    if isinstance(size, int):  # as feature extractors wrote it
        size = {"shortest_edge": size, "longest_edge": told.get("max_size", 1333)}
    if not isinstance(size, dict):
        return {}
    return {ours: int(size[theirs]) for theirs, ours in names.items() if size.get(theirs)}


def describe(model: WithClasses, checkpoint: Checkpoint) -> None:
    """Writes what pictures go through and the names of the classes into ``pretrained_cfg``.

    Args:
        model: A detector, or what gives masks.
        checkpoint: Whose processor and config.json say so.
    """
    mean, std = MEAN_STD["imagenet"]
    model.pretrained_cfg.update(mean=mean, std=std, **picture_sizes(checkpoint))
    names, classes = (checkpoint.config or {}).get("id2label") or {}, model.num_classes
    if len(names) == classes:
        model.pretrained_cfg["label_names"] = [names[str(place)] for place in range(classes)]
        # Models of all of COCO have a label for each id, those without a class too: labels are ids.
        if "N/A" in names.values():
            model.pretrained_cfg["category_ids"] = list(range(classes))


def same(ours: str, theirs: list[str]) -> Rule:
    """Returns the rule of a tensor that stands in a file under several names."""
    number = len(theirs)
    return combine([ours], theirs, read=lambda *one: one[0], write=lambda one: (one,) * number)


def heads(ours: str, theirs: str) -> list[Rule]:
    """Returns the rules of the heads of all decoder blocks, which a file may name twice."""
    ways = [f"model.decoder.{theirs}.{{n}}.*", f"{theirs}.{{n}}.*"]
    return [same(f"{ours}.{{n}}.*", ways), rename(f"{ours}.{{n}}.*", *ways)]


def deformable(ours: str, theirs: str) -> list[Rule]:
    """Returns the rules of a mixer that reads a few positions of maps."""
    return under(
        f"{ours}.function.",
        f"{theirs}.",
        rename("offsets.*", "sampling_offsets.*"),
        rename("weights.*", "attention_weights.*"),
        rename("v.*", "value_proj.*"),
        rename("projection.*", "output_proj.*"),
    )
