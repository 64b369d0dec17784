"""Hiera: a pyramid of plain blocks whose windows are the units that a masked training hides."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory
from headway.core.embeddings import OverlappingPatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import MaskUnitAttention, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import LearnedPosition
from headway.core.stacks.stack import Stack, depth_rates
from headway.core.systems import system
from headway.vision.layers import QueryPoolingBlock
from headway.vision.models.classifier import ImageClassifier, Images, sides

_NORM = partial(LayerNorm, eps=1e-6)


@system(
    id=208,
    name="Hiera",
    paper="https://arxiv.org/abs/2306.00989",
    claim="queries pooled between stages and windows without shifts, equal to timm's and transformers' with "
    "copied weights",
    test="packages/vision/tests/models/test_hiera.py",
)
class Hiera(ImageClassifier):
    """Stages of plain blocks; the first block of a stage pools its queries, which makes the map smaller.

    Early stages attend within windows, later ones to all tokens. Tokens stay in the order of the picture.
    Pictures of any size will do: they are filled up with zeros to a multiple of a window of the first
    stage.

    Args:
        image_size: Side, or (height, width), in pixels that position embeddings are made for.
        num_classes: Classes; with 0 the model returns the pooled vector.
        dim: Channels of a token of the first stage; each stage has twice as many.
        depths: Blocks of each stage.
        heads: Heads of the first stage; each stage has twice as many.
        windowed: Whether blocks of each stage attend within windows.
        window: Side of the windows of the first stage, in tokens; each stage halves it.
        embedding: Builds the patch embedding, ``(dim)``; patch size and channels are its arguments.
        position: Builds the position embedding, ``(dim, grid)``.
        project: Whether what stands beside a pooling attention is projected; else it is largest and mean.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Rate of stochastic depth of the last block; it rises linearly from 0.
        head: Builds the head, ``(dim of the last stage, num_classes)``.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).

    Source:
        Ryali et al. 2023, https://arxiv.org/abs/2306.00989.
    """

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 224,
        num_classes: int = 1000,
        dim: int = 96,
        depths: Sequence[int] = (1, 2, 7, 2),
        heads: int = 1,
        windowed: Sequence[bool] = (True, True, False, False),
        window: int = 8,
        embedding: Callable[[int], nn.Module] = partial(OverlappingPatchEmbedding, padding=3),  # noqa: B008
        position: Callable[[int, Sequence[int]], nn.Module] = LearnedPosition,
        project: bool = True,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = _NORM,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        head: Callable[[int, int], ClassificationHead] = partial(  # noqa: B008
            ClassificationHead, pooling=AveragePooling, norm=_NORM
        ),
    ) -> None:
        if not depths or min(depths) < 1 or len(windowed) != len(depths):
            raise UserError(
                f"depths {list(depths)} and windowed {list(windowed)} need one entry for each stage"
            )
        if window % 2 ** (len(depths) - 1):
            raise UserError(f"window {window} cannot be halved {len(depths) - 1} times")
        wide = dim * 2 ** (len(depths) - 1)
        super().__init__(image_size, num_classes, dim=dim, num_features=wide, embedding=embedding)
        self.depths, self.window = tuple(depths), window
        self.position = position(dim, self.token_grid(sides(image_size)))
        rates, blocks = depth_rates(drop_path, sum(depths)), []
        options: dict[str, Any] = {"feedforward": feedforward, "norm": norm}
        options["layer_scale"] = layer_scale
        for stage, depth in enumerate(depths):
            width, number, side = dim * 2**stage, heads * 2**stage, window // 2**stage
            for place in range(depth):
                own = {**options, "drop_path": rates[len(blocks)]}
                if stage and not place:
                    # Attention is that of the stage before, whose tokens these are.
                    within = 2 * side if windowed[stage - 1] else None
                    own |= {"window": within, "project": project}
                    blocks.append(QueryPoolingBlock(width // 2, width, number, **own))
                    continue
                mixer = (
                    partial(MaskUnitAttention, window=side) if windowed[stage] else SelfAttention
                )
                blocks.append(PreNormBlock(width, number, mixer=mixer, **own))
        self.encoder = Stack(blocks)
        init_transformer_(self.encoder)
        self.head = head(wide, num_classes)

    @property
    def stage_ends(self) -> list[int]:
        """The last block of each stage, counted from 0."""
        return [sum(self.depths[: stage + 1]) - 1 for stage in range(len(self.depths))]

    @property
    def steps(self) -> Sequence[Any]:
        """The stages."""
        firsts = [0, *(end + 1 for end in self.stage_ends)]
        return [
            partial(self._run, first=first, last=last)
            for first, last in zip(firsts, self.stage_ends, strict=False)
        ]

    def _run(
        self, x: Tensor, layout: Layout | None, *, first: int, last: int
    ) -> tuple[Tensor, Layout | None]:
        for block in self.encoder.blocks[first : last + 1]:
            x, layout = self.encoder.recomputed(block)(x, layout)
        return x, layout

    @property
    def final_norm(self) -> nn.Module | None:
        """There is none: the head normalises what it has pooled."""
        return None

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of the output of each stage."""
        patch = self.embedding.patch[0]
        return [
            {
                "num_chs": self.embed_dim * 2**stage,
                "reduction": patch * 2**stage,
                "module": f"encoder.blocks.{end}",
            }
            for stage, end in enumerate(self.stage_ends)
        ]

    def embed(self, images: Images) -> tuple[Tensor, Layout]:
        """Returns what the first block reads."""
        if isinstance(images, Tensor) and images.ndim == 4:
            unit = self.window * self.embedding.patch[0], self.window * self.embedding.patch[1]
            height, width = images.shape[-2:]
            images = F.pad(images, (0, -width % unit[1], 0, -height % unit[0]))
        x, layout = super().embed(images)
        return x + self.position(layout, x.shape[1]), layout

    def encode(self, images: Images) -> tuple[Tensor, Layout | None]:
        """Returns the encoded tokens and their layout."""
        return self.encoder(*self.embed(images))

    def forward_intermediates(self, images: Tensor, *args: Any, **options: Any) -> Any:
        """Returns what every ``ImageClassifier`` returns; maps (NCHW) end where the picture does."""
        found = super().forward_intermediates(images, *args, **options)
        if options.get("output_fmt", "NCHW") != "NCHW":
            return found
        taken = found if options.get("intermediates_only") else found[1]
        filled = self.token_grid(images.shape[-2:])
        for place, one in enumerate(taken):
            maps = one[0] if isinstance(one, tuple) else one
            rows, columns = (
                -(-side * size // (patch * whole))
                for side, size, patch, whole in zip(
                    images.shape[-2:], maps.shape[-2:], self.embedding.patch, filled, strict=True
                )
            )
            cut = maps[..., :rows, :columns]
            taken[place] = (cut, one[1]) if isinstance(one, tuple) else cut
        return found

    @property
    def position_embedding(self) -> nn.Module | None:
        """That of all places of a picture."""
        return self.position

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns patterns that sort parameters by depth, as timm's layer decay reads them."""
        return {
            "stem": r"^(?:embedding|position)\.",
            "blocks": [(r"^encoder\.blocks\.(\d+)", None), (r"^norm", (99999,))],
        }

    def token_grid(self, size: Sequence[int]) -> tuple[int, int]:
        """Returns rows and columns of the tokens of a picture that is filled up to whole windows."""
        rows, columns = (
            -(-side // (patch * self.window)) * self.window
            for side, patch in zip(size, self.embedding.patch, strict=True)
        )
        return rows, columns
