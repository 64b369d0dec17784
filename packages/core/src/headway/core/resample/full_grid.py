"""What resamplers of maps read."""

from torch import nn

from headway.core.errors import UserError
from headway.core.layout import Layout


def full_grid(part: nn.Module, layout: Layout | None) -> tuple[Layout, tuple[int, int]]:
    """Returns the layout of a map and its (rows, columns).

    Raises:
        UserError: If the tokens are no full grid of two axes; it names the part.
    """
    name = type(part).__name__
    if layout is None or layout.grid is None or len(layout.grid) != 2:
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
    return layout, (layout.grid[0], layout.grid[1])
