"""A bias for relative positions that a small network computes."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.positions.relative import GridBias

# The largest bias; the network's answer goes through a sigmoid.
_LARGEST = 16.0
# Differences run from -8 to 8 before they are put on a logarithmic scale.
_RANGE = 8.0


class _Network(nn.Module):
    """Two linear layers; weight decay leaves them alone, as it does a table of biases."""

    def __init__(self, axes: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.hidden = _Undecayed(axes, hidden)
        self.out = _Undecayed(hidden, heads, bias=False)

    def forward(self, coordinates: Tensor) -> Tensor:
        return self.out(self.hidden(coordinates).relu())


class _Undecayed(nn.Linear):
    undecayed: ClassVar[tuple[str, ...]] = ("weight", "bias")


class ContinuousBias(GridBias):
    """Adds a number to each score that a small network makes of the relative position.

    Differences of positions are put on a logarithmic scale, so that a model goes on well in larger windows
    than it was trained with. Prefix tokens get no bias.

    Args:
        heads: Heads.
        head_dim: Width of a head (not used).
        grid: Largest grid without clamping: (length,) of a sequence, (H, W) of a picture.
        trained_grid: The grid whose border is 1 on the scale of differences, that of the training; ``grid``
            if None.
        hidden: Hidden channels of the network.

    Source:
        Liu et al. 2021 (Swin v2), https://arxiv.org/abs/2111.09883, section 3.3 and eq. 4.
    """

    undecayed: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        heads: int,
        head_dim: int,
        *,
        grid: Sequence[int],
        trained_grid: Sequence[int] | None = None,
        hidden: int = 512,
    ) -> None:
        super().__init__(grid)
        self.trained_grid = tuple(trained_grid) if trained_grid is not None else self.grid
        if len(self.trained_grid) != len(self.grid) or min(self.trained_grid) < 1:
            raise UserError(
                f"trained_grid {self.trained_grid} needs a positive size for each axis of the grid "
                f"{self.grid}"
            )
        self.network = _Network(len(self.grid), hidden, heads)
        self.register_constants()

    coordinates: Tensor

    def constants(self) -> dict[str, Tensor]:
        """Returns the difference of positions of each row, on the logarithmic scale."""
        axes = []
        for size, trained in zip(self.grid, self.trained_grid, strict=True):
            steps = torch.arange(1 - size, size, dtype=torch.float32)
            # In windows of one token the only difference is 0.
            steps = steps * (_RANGE / max(trained - 1, 1))
            axes.append(steps.sign() * (steps.abs() + 1.0).log2() / math.log2(_RANGE))
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        return {"coordinates": grid.flatten(0, -2)}

    def rows(self) -> Tensor:
        """Returns the bias of each difference of positions, (rows, heads)."""
        made = self.network(self.coordinates.to(self.network.hidden.weight.dtype))
        return _LARGEST * made.sigmoid()
