"""PoolFormer, and how timm and transformers save it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.core.blocks.block import MixerFactories
from headway.core.embeddings import OverlappingPatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.mixers import PoolingMixer
from headway.core.norms import GlobalLayerNorm, LayerNorm
from headway.core.passed import Passed
from headway.core.resample import OverlappingPatchMerging
from headway.core.sublayer import Sublayer
from headway.core.systems import system
from headway.core.weights.table import Table, pointwise, rename, under
from headway.vision.models.families import (
    Family,
    HuggingFace,
    Row,
    blocks_of_stages,
    numbers,
)
from headway.vision.models.pyramid import Pyramid, PyramidOptions


@system(
    id=460,
    name="PoolFormer (MetaFormer)",
    paper="https://arxiv.org/abs/2111.11418",
    claim="a pyramid whose mixers are averages, equal to timm's and transformers' with copied weights",
    test="packages/vision/tests/models/test_poolformer.py",
)
class PoolFormer(Pyramid):
    """A pyramid that mixes tokens by averages of neighbourhoods; with another mixer, the paper's MetaFormer.

    Args:
        dims: Channels of a token of each stage.
        depths: Blocks of each stage.
        heads: Heads of the mixers of each stage, or of all; averages have none.
        embedding: Builds the patch embedding, ``(dim)``; patch size and channels are its arguments.
        mixer: Builds the token mixer, ``(dim, heads)``. A sequence is cycled over each stage, or has one
            entry for every block of the model.
        norm: Builds the norms, ``(dim)``.
        resampler: Builds what stands between two stages, ``(dim, next dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        **options: As of every ``Pyramid``: image_size, num_classes, feedforward, block, final_norm, drop_path
            and head.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).

    Source:
        Yu et al. 2021, https://arxiv.org/abs/2111.11418.
    """

    def __init__(
        self,
        *,
        dims: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] | int = 1,
        embedding: Callable[[int], nn.Module] = OverlappingPatchEmbedding,
        mixer: MixerFactories = PoolingMixer,
        norm: Callable[[int], nn.Module] = GlobalLayerNorm,
        resampler: Callable[[int, int], Sublayer] = OverlappingPatchMerging,
        layer_scale: float | None = 1e-5,
        **options: Passed[PyramidOptions],
    ) -> None:
        super().__init__(
            dims=dims,
            depths=depths,
            heads=heads,
            embedding=embedding,
            mixer=mixer,
            norm=norm,
            resampler=resampler,
            layer_scale=layer_scale,
            **options,
        )


def make_poolformer(
    row: Row, *, channels: int, patch_size: int, dropout: float, **sizes: Any
) -> PoolFormer:
    """Makes the model of a row; as in timm it normalises behind the pooling, not before it."""
    return PoolFormer(
        dims=numbers(row["dims"]),
        depths=numbers(row["depths"]),
        embedding=partial(OverlappingPatchEmbedding, patch=patch_size, channels=channels),
        final_norm=False,
        layer_scale=float(row["layer_scale"]),
        head=partial(
            ClassificationHead,
            pooling=AveragePooling,
            norm=partial(LayerNorm, eps=1e-6),
            dropout=dropout,
        ),
        **sizes,
    )


def _seen(state: Mapping[str, Tensor]) -> Row:
    """Returns what timm's tensors tell."""
    depths = blocks_of_stages(state, "stages")
    norms = [f"stages.{stage}.blocks.0.norm1.weight" for stage in range(len(depths))]
    return {
        "dims": ",".join(str(len(state[name])) for name in norms),
        "depths": ",".join(map(str, depths)),
    }


def _of_transformers(
    config: Mapping[str, Any], *, num_classes: int, activation: type[nn.Module], **options: Any
) -> PoolFormer:
    """Builds the model that a config.json of transformers describes."""
    usual = {"patch_sizes": [7, 3, 3, 3], "strides": [4, 2, 2, 2], "padding": [2, 1, 1, 1]}
    steps = {name: list(config.get(name, values)) for name, values in usual.items()}
    for name, values in steps.items():
        if len(set(values[1:])) > 1:
            raise UserError(
                f"config.json says {name}={values}; read are models with one value behind the first"
            )
    kernels, strides, paddings = steps.values()
    between = partial(
        OverlappingPatchMerging, patch=strides[-1], kernel=kernels[-1], padding=paddings[-1]
    )
    dims, depths = (
        config.get("hidden_sizes", [64, 128, 320, 512]),
        config.get("depths", [2, 2, 6, 2]),
    )
    if config.get("num_encoder_blocks", len(dims)) != len(dims):
        raise UserError(
            f"config.json has num_encoder_blocks other than its {len(dims)} hidden_sizes"
        )
    scale = config.get("layer_scale_init_value", 1e-5)
    return PoolFormer(
        num_classes=num_classes,
        dims=dims,
        depths=depths,
        embedding=partial(
            OverlappingPatchEmbedding,
            patch=strides[0],
            kernel=kernels[0],
            padding=paddings[0],
            channels=config.get("num_channels", 3),
        ),
        mixer=partial(PoolingMixer, window=config.get("pool_size", 3)),
        feedforward=partial(MLP, mlp_ratio=config.get("mlp_ratio", 4.0), activation=activation),
        resampler=between,
        layer_scale=scale if config.get("use_layer_scale", True) else None,
        **options,
    )


POOLFORMER = Family(
    name="PoolFormer",
    table="poolformer.tsv",
    make=make_poolformer,
    patch=4,
    sized=False,
    tiny={"image": "32", "dims": "8,16", "depths": "1,1"},
    timm=Table(
        rename("embedding.*", "stem.conv.*"),
        rename("stages.{s}.downsample.projection.*", "stages.{s}.downsample.conv.*"),
        under(
            "stages.{s}.blocks.{b}.",
            "stages.{s}.blocks.{b}.",
            rename("mixer.norm.*", "norm1.*"),
            rename("feedforward.norm.*", "norm2.*"),
            rename("mixer.scale.gamma", "layer_scale1.scale"),
            rename("feedforward.scale.gamma", "layer_scale2.scale"),
            rename("feedforward.function.*", "mlp.*", form=pointwise(2)),
        ),
        rename("head.norm.*", "head.norm.*"),
        rename("head.classifier.*", "head.fc.*"),
    ),
    timm_marks=frozenset({"stem.conv.weight", "stages.0.blocks.0.layer_scale1.scale"}),
    seen=_seen,
    hugging_face=HuggingFace(
        model_type="poolformer",
        architectures=("PoolFormerForImageClassification",),
        table=Table(
            rename("embedding.*", "poolformer.encoder.patch_embeddings.0.projection.*"),
            under(
                "stages.{s}.",
                "poolformer.encoder.",
                rename("downsample.projection.*", "patch_embeddings.{s}.projection.*"),
                rename("blocks.{b}.mixer.norm.*", "block.{s}.{b}.before_norm.*"),
                rename("blocks.{b}.feedforward.norm.*", "block.{s}.{b}.after_norm.*"),
                rename("blocks.{b}.mixer.scale.gamma", "block.{s}.{b}.layer_scale_1"),
                rename("blocks.{b}.feedforward.scale.gamma", "block.{s}.{b}.layer_scale_2"),
                rename(
                    "blocks.{b}.feedforward.function.fc{k}.*",
                    "block.{s}.{b}.output.conv{k}.*",
                    form=pointwise(2),
                ),
            ),
            rename("norm.*", "norm.*"),
            rename("head.classifier.*", "classifier.*"),
            prefix="poolformer.",
        ),
        build=_of_transformers,
        processor="PoolFormer",
        harmless=("drop_path_rate", "patch_size", "stride"),
    ),
)
