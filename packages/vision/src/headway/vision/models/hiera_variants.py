"""The published members of the Hiera family, and how timm and transformers save them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.core.embeddings import OverlappingPatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.norms import LayerNorm
from headway.core.positions import LearnedPosition
from headway.core.weights.table import Table, rename, under
from headway.vision.layers import WindowedPosition
from headway.vision.models.families import Family, HuggingFace, Row, numbers
from headway.vision.models.hiera import Hiera

# So many stages of the published members attend within windows.
_WINDOWED = 2


def _make(
    row: Row,
    *,
    image_size: int | Sequence[int],
    channels: int,
    patch_size: int,
    dropout: float,
    **sizes: Any,
) -> Hiera:
    """Makes the model of a row."""
    position: Any = LearnedPosition
    if row["whole"] != "-":
        whole = int(row["whole"])
        position = partial(WindowedPosition, whole=(whole, whole), window=int(row["window"]))
    return Hiera(
        image_size=image_size,
        dim=int(row["dim"]),
        heads=int(row["heads"]),
        depths=numbers(row["depths"]),
        windowed=[stage < _WINDOWED for stage in range(len(numbers(row["depths"])))],
        window=int(row["window"]),
        embedding=partial(
            OverlappingPatchEmbedding, patch=patch_size, padding=3, channels=channels
        ),
        position=position,
        project=row["beside"] == "projection",
        layer_scale=None if row["layer_scale"] == "-" else float(row["layer_scale"]),
        head=partial(
            ClassificationHead,
            pooling=AveragePooling,
            norm=partial(LayerNorm, eps=1e-6),
            dropout=dropout,
        ),
        **sizes,
    )


def _seen(state: Mapping[str, Tensor]) -> Row:
    """Returns what timm's tensors tell; heads are as in the published member of that width."""
    depths: list[int] = []
    width = 0
    for place in range(sum(name.endswith(".norm1.weight") for name in state)):
        out = len(state[f"blocks.{place}.norm2.weight"])
        if out != width:
            depths.append(0)
        width = out
        depths[-1] += 1
    dim = len(state["blocks.0.norm1.weight"])
    windows = "pos_embed_win" in state
    return {
        "dim": str(dim),
        "depths": ",".join(map(str, depths)),
        "layer_scale": "1e-5" if "blocks.0.ls1.gamma" in state else "-",
        "whole": str(state["pos_embed"].shape[-1]) if windows else "-",
        "beside": "projection"
        if any(
            name.endswith(".proj.weight") and name.count(".") == 3
            for name in state
            if name.startswith("blocks")
        )
        else "pooling",
    }


_BLOCK = (
    rename("mixer.norm.*", "norm1.*"),
    rename("mixer.expand.*", "proj.*"),
    rename("mixer.function.qkv.*", "attn.qkv.*"),
    rename("mixer.function.projection.*", "attn.proj.*"),
    rename("mixer.scale.gamma", "ls1.gamma"),
    rename("feedforward.norm.*", "norm2.*"),
    rename("feedforward.scale.gamma", "ls2.gamma"),
    rename("feedforward.function.*", "mlp.*"),
)
TIMM = Table(
    rename("embedding.*", "patch_embed.proj.*"),
    rename("position.window_table", "pos_embed_win"),
    # Official files of models with windows call it so; so does timm the table of all places.
    rename("position.table", "pos_embed", "pos_embed_abs"),
    under("encoder.blocks.{b}.", "blocks.{b}.", *_BLOCK),
    rename("head.norm.*", "head.norm.*", "norm.*", "encoder_norm.*"),
    rename("head.classifier.*", "head.fc.*", "head.projection.*"),
)


def of_transformers(
    config: Mapping[str, Any], *, num_classes: int, activation: type[nn.Module], **options: Any
) -> Hiera:
    """Builds the model that a config.json of transformers describes."""
    heads = list(config.get("num_heads", [1, 2, 4, 8]))
    stages = len(heads)
    square = {
        name: list(config.get(name, [value, value]))
        for name, value in (
            ("patch_size", 7), ("patch_stride", 4), ("patch_padding", 3), ("masked_unit_size", 8),
            ("query_stride", 2),
        )
    }  # fmt: skip
    wanted = {
        "num_heads": heads == [heads[0] * 2**stage for stage in range(stages)],
        "embed_dim_multiplier": config.get("embed_dim_multiplier", 2.0) == 2,
        "num_query_pool": config.get("num_query_pool", 3) == stages - 1,
        "query_stride": square["query_stride"] == [2, 2],
        **{name: len(set(sides)) == 1 for name, sides in square.items() if name != "query_stride"},
    }
    for name, read in wanted.items():
        if not read:
            raise UserError(
                f"config.json says {name}={config[name]!r}; read are squares, and stages with twice the "
                "heads and channels of the one before"
            )
    norm = partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-6)))
    return Hiera(
        image_size=config.get("image_size", 224),
        num_classes=num_classes,
        dim=config.get("embed_dim", 96),
        depths=config.get("depths", [2, 3, 16, 3]),
        heads=heads[0],
        windowed=config.get("masked_unit_attention", [True, True, False, False]),
        window=square["masked_unit_size"][0],
        embedding=partial(
            OverlappingPatchEmbedding,
            patch=square["patch_stride"][0],
            kernel=square["patch_size"][0],
            padding=square["patch_padding"][0],
            channels=config.get("num_channels", 3),
        ),
        # There it is not smoothed before it shrinks.
        position=partial(LearnedPosition, antialias=False),
        feedforward=partial(MLP, mlp_ratio=config.get("mlp_ratio", 4.0), activation=activation),
        norm=norm,
        head=partial(ClassificationHead, pooling=AveragePooling, norm=norm),
        **options,
    )


def transformers_table(model: Any) -> Table:
    """Returns the names that transformers gives the parameters: blocks are counted within stages there.

    Args:
        model: The model, whose stages tell.
    """
    blocks = []
    firsts = [0, *(end + 1 for end in model.stage_ends)]
    for stage, depth in enumerate(model.depths):
        for place in range(depth):
            front = f"hiera.encoder.stages.{stage}.layers.{place}."
            blocks += under(
                f"encoder.blocks.{firsts[stage] + place}.",
                front,
                rename("mixer.norm.*", "layernorm_before.*"),
                rename("feedforward.norm.*", "layernorm_after.*"),
                *_BLOCK[1:4],
                _BLOCK[-1],
            )
    return Table(
        rename("embedding.*", "hiera.embeddings.patch_embeddings.projection.*"),
        rename("position.table", "hiera.embeddings.position_embeddings"),
        blocks,
        rename("head.norm.*", "hiera.pooler.layernorm.*"),
        rename("head.classifier.*", "classifier.*"),
        prefix="hiera.",
    )


HIERA = Family(
    name="Hiera",
    table="hiera.tsv",
    make=_make,
    patch=4,
    tiny={"image": "32", "dim": "8", "depths": "1,2", "heads": "1"},
    timm=TIMM,
    timm_marks=frozenset({"patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "head.norm.weight"}),
    # The classifier of others has no projection.
    official_marks=frozenset(
        {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "pos_embed", "head.projection.weight"}
    ),
    seen=_seen,
    words={"init_values": "layer_scale"},
    hugging_face=HuggingFace(
        model_type="hiera",
        architectures=("HieraModel", "HieraForImageClassification"),
        table=transformers_table,
        build=of_transformers,
        defaults={"layer_norm_init": 1.0},
        harmless=(
            "drop_path_rate", "hidden_size", "initializer_range", "layer_norm_init", "decoder_hidden_size",
            "decoder_depth", "decoder_num_heads", "normalize_pixel_loss", "mask_ratio",
        ),
    ),
)  # fmt: skip
