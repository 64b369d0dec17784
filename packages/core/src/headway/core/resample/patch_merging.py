"""Merging of neighbouring patches."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.layout import Layout
from headway.core.norms import LayerNorm
from headway.core.resample.base import Resampler, full_grid


class PatchMerging(Resampler):
    """Joins each 2 x 2 neighbourhood into one token of another width.

    A grid with an odd side is padded with zeros. The four tokens are concatenated column by column:
    (0,0), (1,0), (0,1), (1,1) as (row, column).

    Args:
        dim: Channels of a token.
        out_dim: Channels of a merged token; ``2 * dim`` if None.
        norm: Builds the norm of the joined tokens, ``(4 * dim)``.

    Shape:
        x: (B, H * W, dim). Output: (B, ceil(H/2) * ceil(W/2), out_dim) and its layout.

    Source:
        Liu et al. 2021 (Swin), https://arxiv.org/abs/2103.14030, section 3.1.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int | None = None,
        *,
        norm: Callable[[int], nn.Module] = LayerNorm,
    ) -> None:
        super().__init__()
        self.norm = norm(4 * dim)
        self.projection = nn.Linear(4 * dim, out_dim or 2 * dim, bias=False)

    def resample(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Merges neighbours."""
        joined, layout = self.join(x, layout)
        return self.projection(self.norm(joined)), layout

    def join(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Returns the tokens of each neighbourhood side by side, and their layout."""
        rows, columns = full_grid(self, layout)
        picture = x.unflatten(1, (rows, columns))
        picture = F.pad(picture, (0, 0, 0, columns % 2, 0, rows % 2))
        grid = (picture.shape[1] // 2, picture.shape[2] // 2)
        # (B, rows, 2, columns, 2, C) -> the column of a neighbour varies slowest
        joined = picture.unflatten(2, (grid[1], 2)).unflatten(1, (grid[0], 2))
        joined = joined.permute(0, 1, 3, 4, 2, 5).flatten(3).flatten(1, 2)
        return joined, layout.replace(grid=grid)


class PostNormPatchMerging(PatchMerging):
    """``PatchMerging`` that normalises the merged tokens and not what they are made of.

    Args:
        dim: Channels of a token.
        out_dim: Channels of a merged token; ``2 * dim`` if None.
        norm: Builds the norm of the merged tokens, ``(out_dim)``.

    Shape:
        x: (B, H * W, dim). Output: (B, ceil(H/2) * ceil(W/2), out_dim) and its layout.

    Source:
        Liu et al. 2021 (Swin v2), https://arxiv.org/abs/2111.09883, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int | None = None,
        *,
        norm: Callable[[int], nn.Module] = LayerNorm,
    ) -> None:
        super().__init__(dim, out_dim, norm=norm)
        self.norm = norm(out_dim or 2 * dim)

    def resample(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Merges neighbours."""
        joined, layout = self.join(x, layout)
        return self.norm(self.projection(joined)), layout
