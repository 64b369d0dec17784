"""Learned positions of a picture and of its windows."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.layout import Layout
from headway.core.module import Module


class WindowedPosition(Module):
    """A table for the places of a picture, resized to any grid, and one for those of a window, repeated.

    Resizing one table for all would blur what windows have learned of their own places.

    Args:
        dim: Channels.
        grid: (H, W) of a picture's tokens; tables do not depend on it.
        whole: (H, W) of the table of the picture.
        window: Side of a window in tokens.

    Source:
        Bolya et al. 2023, https://arxiv.org/abs/2311.05613.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("table", "window_table")

    def __init__(
        self,
        dim: int,
        grid: Sequence[int],
        *,
        whole: Sequence[int] = (14, 14),
        window: int = 8,
    ) -> None:
        super().__init__()
        if min(*whole, window) < 1:
            raise UserError(
                f"tables of {tuple(whole)} and of windows of {window} need positive sizes"
            )
        self.table = nn.Parameter(truncated_normal_(torch.empty(1, dim, *whole)))
        self.window_table = nn.Parameter(truncated_normal_(torch.empty(1, dim, window, window)))

    def forward(self, layout: Layout, tokens: int) -> Tensor:
        """Returns the embedding to add to the tokens of a layout, (1, tokens, dim)."""
        if layout.grid is None or len(layout.grid) != 2:
            raise UserError("WindowedPosition needs tokens on a grid (H, W)")
        rows, columns = layout.grid
        side = self.window_table.shape[-1]
        whole = F.interpolate(
            self.table, size=(rows, columns), mode="bicubic", antialias=True, align_corners=False
        )
        repeats = (1, 1, -(-rows // side), -(-columns // side))
        window = self.window_table.tile(repeats)[..., :rows, :columns]
        return (whole + window).flatten(2).transpose(1, 2)
