"""The published members of the ViT family: a table of numbers, and how to build one from a row.

The table is ``vit_variants.tsv`` beside this file. Columns whose meaning is not plain: ``hidden`` is the
width of the feed-forward, ``pos_prefix`` says whether class and register tokens have position
embeddings, ``pool_norm`` whether the norm stands behind the pooling instead of at the end of the
encoder, ``pre_norm`` what is normalised before the blocks, ``tag`` the default pretrained weights.
"""

from functools import partial
from typing import Any

from headway.core.blocks import PreNormBlock, ResidualPostNormBlock
from headway.core.embeddings import PatchEmbedding
from headway.core.feedforward import GELU, GLU, MLP, QuickGELU
from headway.core.heads import AttentionPooling, AveragePooling, ClassificationHead, TokenPooling
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm, RMSNorm
from headway.core.weights.table import Table, drop, join, rename, under
from headway.vision.layers import ImageTokens
from headway.vision.models.families import Family, Row
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


TIMM = Table(
    rename("embedding.norm.*", "patch_embed.norm.*"),
    rename("embedding.*", "patch_embed.proj.*"),
    rename("tokens.class_token", "cls_token"),
    rename("tokens.distillation_token", "dist_token"),
    rename("tokens.registers", "reg_token"),
    rename("tokens.position.table", "pos_embed"),
    rename("tokens.norm.*", "norm_pre.*"),
    rename("encoder.norm.*", "norm.*"),
    under(
        "encoder.blocks.{n}.",
        "blocks.{n}.",
        rename("mixer.norm.*", "norm1.*"),
        rename("feedforward.norm.*", "norm2.*"),
        rename("mixer.scale.*", "ls1.*"),
        rename("feedforward.scale.*", "ls2.*"),
        rename("mixer.function.qkv.*", "attn.qkv.*"),
        rename("mixer.function.projection.*", "attn.proj.*"),
        rename("mixer.function.query_norm.*", "attn.q_norm.*"),
        rename("mixer.function.key_norm.*", "attn.k_norm.*"),
        # Some gated ones are kept in two pieces.
        join("feedforward.function.fc1.*", ["mlp.fc1.*"], ["mlp.fc1_g.*", "mlp.fc1_x.*"]),
        rename("feedforward.function.*", "mlp.*"),
    ),
    rename("head.pooling.query", "attn_pool.latent"),
    rename("head.pooling.attention.q.*", "attn_pool.q.*"),
    rename("head.pooling.attention.kv.*", "attn_pool.kv.*"),
    rename("head.pooling.attention.projection.*", "attn_pool.proj.*"),
    rename("head.pooling.norm.*", "attn_pool.norm.*"),
    rename("head.pooling.feedforward.*", "attn_pool.mlp.*"),
    rename("head.norm.*", "fc_norm.*"),
    rename("head.classifier.*", "head.*"),
    rename("distillation_classifier.*", "head_dist.*"),
    drop("mask_token"),
)


def make_vit(row: Row, *, channels: int, patch_size: int, dropout: float, **sizes: Any) -> ViT:
    """Makes the model of a row."""
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
        **sizes,
        "dim": int(row["dim"]),
        "depth": int(row["depth"]),
        "heads": int(row["heads"]),
        "embedding": partial(
            PatchEmbedding,
            patch=patch_size,
            channels=channels,
            # A norm of all tokens makes the bias of the patches superfluous (CLIP).
            bias=row["pre_norm"] != "tokens",
            norm=norm if row["pre_norm"] == "patches" else None,
            remainder="drop" if int(row["image"]) % int(row["patch"]) else "refuse",
        ),
        "tokens": tokens,
        "mixer": partial(
            SelfAttention,
            qkv_bias=row["qkv_bias"] == "1",
            out_bias=bias,
            norm=norm if row.get("qk_norm") == "1" else None,
        ),
        "feedforward": feedforward,
        "norm": norm,
        "block": BLOCKS[row["block"]],
        "final_norm": row["final_norm"] == "1",
        "layer_scale": None if row["layer_scale"] == "-" else float(row["layer_scale"]),
    }
    if "distillation" in row["prefix"]:
        return DistilledViT(**shared)
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
    return ViT(**shared, head=head)


VIT = Family(
    name="ViT/DeiT/DINOv2",
    table="vit_variants.tsv",
    make=make_vit,
    tiny={"image": "32", "patch": "8", "dim": "24", "depth": "1", "heads": "3", "hidden": "48"},
    # An average is normalised behind the pooling.
    pooled={
        "avg": {"pooling": "average", "pool_norm": "1", "final_norm": "0"},
        "token": {"pooling": "token", "pool_norm": "0", "final_norm": "1"},
    },
    timm=TIMM,
    global_pool="token",
    words={
        "class_token": "prefix",
        "reg_tokens": "registers",
        "qk_norm": "qk_norm",
        "init_values": "layer_scale",
    },
    timm_marks=frozenset({"patch_embed.proj.weight", "blocks.0.attn.qkv.weight"}),
)
