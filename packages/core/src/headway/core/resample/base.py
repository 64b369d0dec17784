"""The base of all resamplers: steps of a block that read tokens and layout, and nothing else."""

from abc import abstractmethod

from torch import Tensor

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.sublayer import Sublayer


class Resampler(Sublayer):
    """Changes the number of tokens; a subclass implements ``resample``.

    What other steps of a block read (context, bias, mask, cache) is taken and left alone.

    Shape:
        x: (B, N, C). Output: (B, M, C') and the layout of the new tokens.
    """

    def forward(
        self,
        x: Tensor,
        layout: Layout | None = None,
        *,
        context: Tensor | None = None,
        context_layout: Layout | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Layout]:
        """Changes the number of tokens."""
        return self.resample(x, layout if layout is not None else Layout())

    @abstractmethod
    def resample(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Returns the new tokens and their layout."""


def full_grid(part: Resampler, layout: Layout) -> tuple[int, int]:
    """Returns the (rows, columns) of a map.

    Raises:
        UserError: If the tokens are no full grid of two axes; it names the part.
    """
    name = type(part).__name__
    if layout.grid is None or len(layout.grid) != 2:
        raise UserError(f"{name} needs a layout with a grid (H, W)")
    if (
        layout.prefix
        or layout.padded
        or layout.offsets is not None
        or layout.positions is not None
        or layout.embedding is not None
    ):
        raise UserError(
            f"{name} needs a full grid: no prefix, padding, packing, merged tokens or layout.embedding"
        )
    return layout.grid[0], layout.grid[1]
