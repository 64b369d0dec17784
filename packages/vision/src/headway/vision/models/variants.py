"""The published members of the ViT family: a table of numbers, and how to build one from a row.

The table is ``vit_variants.tsv`` beside this file. Columns whose meaning is not plain: ``hidden`` is the
width of the feed-forward, ``pos_prefix`` says whether class and register tokens have position
embeddings, ``pool_norm`` whether the norm stands behind the pooling instead of at the end of the
encoder, ``pre_norm`` what is normalised before the blocks, ``tag`` the default pretrained weights.
"""

import csv
from functools import cache, partial
from importlib import resources
from typing import Any

from headway.core.blocks import PreNormBlock, ResidualPostNormBlock
from headway.core.embeddings import PatchEmbedding
from headway.core.feedforward import GELU, GLU, MLP, QuickGELU
from headway.core.heads import AttentionPooling, AveragePooling, ClassificationHead, TokenPooling
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm, RMSNorm
from headway.vision.layers import ImageTokens
from headway.vision.models.pretrained_cfg import MEAN_STD
from headway.vision.models.vit import ViT
from headway.vision.models.vit_distilled import DistilledViT

NORMS = {"layer": LayerNorm, "rms": RMSNorm}
FEEDFORWARDS: dict[str, Any] = {
    "mlp": MLP,
    "mlp_quick": partial(MLP, activation=QuickGELU),
    "mlp_tanh": partial(MLP, activation=partial(GELU, approximate="tanh")),
    "swiglu": GLU,
}
POOLINGS = {"token": TokenPooling, "average": AveragePooling, "attention": AttentionPooling}
BLOCKS = {"pre": PreNormBlock, "residual-post": ResidualPostNormBlock}


@cache
def variants() -> dict[str, dict[str, str]]:
    """Returns the rows of the table by name."""
    table = resources.files("headway.vision.models").joinpath("vit_variants.tsv").read_text()
    return {row["name"]: row for row in csv.DictReader(table.splitlines(), delimiter="\t")}


def pretrained_cfg(row: dict[str, str], channels: int = 3) -> dict[str, Any]:
    """Returns how the published weights of a row want their pictures."""
    mean, std = MEAN_STD[row["mean_std"]]
    return {
        "architecture": row["name"],
        "tag": "" if row["tag"] == "-" else row["tag"],
        "input_size": (channels, int(row["image"]), int(row["image"])),
        "num_classes": int(row["classes"]),
        "mean": mean,
        "std": std,
        "interpolation": row["interpolation"],
        "crop_pct": float(row["crop_pct"]),
        "crop_mode": row["crop_mode"],
    }


def build(
    row: dict[str, str],
    *,
    num_classes: int | None = None,
    channels: int = 3,
    image_size: int | tuple[int, int] | None = None,
    patch_size: int | None = None,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> ViT:
    """Builds the model of a row; what is None is as published."""
    kind, eps = row["norm"].split("_")
    norm = partial(NORMS[kind], eps=float(eps))
    bias = row["out_bias"] == "1"
    feedforward = partial(
        FEEDFORWARDS[row["feedforward"]], hidden_dim=int(row["hidden"]), bias=bias
    )
    tokens = partial(
        ImageTokens,
        class_token="class" in row["prefix"],
        distillation_token="distillation" in row["prefix"],
        registers=int(row["registers"]),
        position_on_prefix=row["pos_prefix"] == "1",
        norm=norm if row["pre_norm"] == "tokens" else None,
    )
    shared: dict[str, Any] = {
        "image_size": image_size if image_size is not None else int(row["image"]),
        "num_classes": num_classes if num_classes is not None else int(row["classes"]),
        "dim": int(row["dim"]),
        "depth": int(row["depth"]),
        "heads": int(row["heads"]),
        "embedding": partial(
            PatchEmbedding,
            patch=patch_size or int(row["patch"]),
            channels=channels,
            # A norm of all tokens makes the bias of the patches superfluous (CLIP).
            bias=row["pre_norm"] != "tokens",
            norm=norm if row["pre_norm"] == "patches" else None,
            remainder="drop" if int(row["image"]) % int(row["patch"]) else "refuse",
        ),
        "tokens": tokens,
        "mixer": partial(SelfAttention, qkv_bias=row["qkv_bias"] == "1", out_bias=bias),
        "feedforward": feedforward,
        "norm": norm,
        "block": BLOCKS[row["block"]],
        "final_norm": row["final_norm"] == "1",
        "layer_scale": None if row["layer_scale"] == "-" else float(row["layer_scale"]),
        "drop_path": drop_path,
    }
    if "distillation" in row["prefix"]:
        model: ViT = DistilledViT(**shared)
    else:
        name, _, prefix = row["pooling"].partition("+")
        options: dict[str, Any] = {} if name == "token" else {"include_prefix": bool(prefix)}
        if name == "attention":
            options.update(heads=int(row["heads"]), norm=norm, feedforward=feedforward)
        head = partial(
            ClassificationHead,
            pooling=partial(POOLINGS[name], **options),
            norm=norm if row["pool_norm"] == "1" else None,
            dropout=dropout,
        )
        model = ViT(**shared, head=head)
    model.pretrained_cfg = {
        **model.pretrained_cfg,
        **pretrained_cfg(row),
        "input_size": model.pretrained_cfg["input_size"],
        "num_classes": model.num_classes,
    }
    return model
