"""Merging of patches that overlap."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.embeddings import OverlappingPatchEmbedding
from headway.core.layout import Layout
from headway.core.resample.base import Resampler, full_grid


class OverlappingPatchMerging(Resampler):
    """A patch embedding between two stages: the map of one is the picture of the next.

    Args:
        dim: Channels of a token.
        out_dim: Channels of a merged token; ``2 * dim`` if None.
        patch: Tokens per side that become one.
        kernel: Side in tokens of what a merged token is computed from.
        padding: Zeros around the map, in tokens.
        norm: Builds a norm of the merged tokens, ``(out_dim)``; none if None.

    Shape:
        x: (B, H * W, dim). Output: (B, h * w, out_dim) and its layout, h = (H + 2 padding - kernel) //
        patch + 1.

    Source:
        Yu et al. 2021 (PoolFormer), https://arxiv.org/abs/2111.11418, figure 2; Xie et al. 2021
        (SegFormer), https://arxiv.org/abs/2105.15203, section 3.1.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int | None = None,
        *,
        patch: int = 2,
        kernel: int = 3,
        padding: int = 1,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.projection = OverlappingPatchEmbedding(
            out_dim or 2 * dim, patch=patch, kernel=kernel, padding=padding, channels=dim, norm=norm
        )

    def resample(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Merges neighbours."""
        grid = full_grid(self, layout)
        tokens, merged = self.projection(x.transpose(1, 2).unflatten(2, grid))
        return tokens, layout.replace(grid=merged.grid)
