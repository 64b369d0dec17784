"""Image classifiers in stages: tokens become fewer and wider from stage to stage."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypedDict

from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.core.stacks.stack import depth_rates
from headway.core.sublayer import Sublayer
from headway.vision.layers import Stage
from headway.vision.models.classifier import ImageClassifier, Images


class PyramidSizes(TypedDict, total=False):
    """What pyramids with blocks or heads of their own pass on to ``Pyramid``."""

    image_size: int | Sequence[int]
    num_classes: int
    feedforward: FeedForwardFactory
    final_norm: bool
    drop_path: float


class PyramidOptions(PyramidSizes, total=False):
    """What every other pyramid with parts of its own passes on to ``Pyramid``."""

    block: BlockFactory
    head: Callable[[int, int], ClassificationHead]


class Pyramid(ImageClassifier):
    """Stages of blocks; between two of them stands what makes the map smaller and the tokens wider.

    Swin and PoolFormer are such models with parts of their own. Pictures of any size will do where the
    embedding and the resampler take them.

    Args:
        image_size: Side, or (height, width), in pixels that the model prefers.
        num_classes: Classes; with 0 the model returns the pooled vector.
        dims: Channels of a token of each stage.
        depths: Blocks of each stage.
        heads: Heads of the mixers of each stage, or of all.
        embedding: Builds the patch embedding, ``(dim)``; patch size and channels are its arguments.
        mixer: Builds the token mixer, ``(dim, heads)``. A sequence is cycled over each stage, or has one
            entry for every block of the model.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        resampler: Builds what stands between two stages and halves the sides of the map, ``(dim, next dim)``.
        final_norm: Whether a norm follows the last stage.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Rate of stochastic depth of the last block; it rises linearly from 0.
        head: Builds the head, ``(dim of the last stage, num_classes)``.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).
    """

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 224,
        num_classes: int = 1000,
        dims: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] | int = 1,
        embedding: Callable[[int], nn.Module] = partial(  # noqa: B008
            PatchEmbedding, patch=4, remainder="pad"
        ),
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        resampler: Callable[[int, int], Sublayer] = PatchMerging,
        final_norm: bool = True,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        head: Callable[[int, int], ClassificationHead] = partial(  # noqa: B008
            ClassificationHead, pooling=AveragePooling
        ),
    ) -> None:
        per_stage = [heads] * len(dims) if isinstance(heads, int) else list(heads)
        if not depths or not len(dims) == len(depths) == len(per_stage) or min(depths) < 1:
            raise UserError(
                f"depths {list(depths)} and heads {per_stage} need one positive number per stage, as many as "
                f"dims {list(dims)}"
            )
        super().__init__(
            image_size, num_classes, dim=dims[0], num_features=dims[-1], embedding=embedding
        )
        mixers, rates = _per_block(mixer, depths), depth_rates(drop_path, sum(depths))
        stages, start = [], 0
        for place, depth in enumerate(depths):
            stages.append(
                Stage(
                    dims[place],
                    per_stage[place],
                    mixers=mixers[start : start + depth],
                    drop_path=rates[start : start + depth],
                    in_dim=dims[max(place - 1, 0)],
                    resampler=resampler if place else None,
                    feedforward=feedforward,
                    norm=norm,
                    block=block,
                    layer_scale=layer_scale,
                )
            )
            start += depth
        self.stages = nn.ModuleList(stages)
        self.dims = tuple(dims)
        init_transformer_(self.stages)
        self.norm = norm(dims[-1]) if final_norm else None
        self.head = head(dims[-1], num_classes)

    @property
    def steps(self) -> Sequence[nn.Module]:
        """The stages."""
        return self.stages  # pyright: ignore[reportReturnType]

    @property
    def final_norm(self) -> nn.Module | None:
        """The norm behind the last stage; no other stage has its width."""
        return self.norm

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of the output of each stage."""
        patch = self.embedding.patch[0]
        return [
            {"num_chs": dim, "reduction": patch * 2**place, "module": f"stages.{place}"}
            for place, dim in enumerate(self.dims)
        ]

    def encode(self, images: Images) -> tuple[Tensor, Layout | None]:
        """Returns the encoded tokens and their layout."""
        x, layout = self.embed(images)
        for stage in self.stages:
            x, layout = stage(x, layout)
        return (self.norm(x) if self.norm is not None else x), layout

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns patterns that sort parameters by depth, as timm's layer decay reads them."""
        if coarse:
            blocks: Any = r"^stages\.(\d+)"
        else:
            blocks = [
                (r"^stages\.(\d+)\.downsample", (0,)),
                (r"^stages\.(\d+)\.blocks\.(\d+)", None),
                (r"^norm\.", (99999,)),
            ]
        return {"stem": r"^embedding\.", "blocks": blocks}

    def layer_depth(self, name: str) -> int:
        """Returns how deep a parameter stands, counted in blocks; what leads to a stage is its first."""
        if name.startswith("embedding."):
            return 0
        depths = [len(stage.blocks) for stage in self.stages]  # pyright: ignore[reportArgumentType]
        if not name.startswith("stages."):
            return sum(depths) + 1
        _, stage, part, *rest = name.split(".")
        place = int(rest[0]) if part == "blocks" else 0
        return sum(depths[: int(stage)]) + place + 1


def _per_block(mixer: MixerFactories, depths: Sequence[int]) -> list[MixerFactory]:
    """Returns the mixer of each block of the model."""
    if not isinstance(mixer, Sequence):
        return [mixer] * sum(depths)
    if not mixer:
        raise UserError("the sequence of mixers is empty; name at least one")
    if len(mixer) == sum(depths):
        return list(mixer)
    return [mixer[place % len(mixer)] for depth in depths for place in range(depth)]
