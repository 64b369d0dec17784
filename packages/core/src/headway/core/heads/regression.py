"""Heads for numbers."""

from collections.abc import Sequence

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.module import Module


class RegressionHead(Module):
    """Maps each token to ``outputs`` numbers.

    Args:
        dim: Channels of a token.
        outputs: Numbers per token.
        dropout: Probability of dropping a channel in training.

    Shape:
        x: (B, N, dim). Output: (B, N, outputs).
    """

    def __init__(self, dim: int, outputs: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.projection = nn.Linear(dim, outputs)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Returns the numbers."""
        return self.projection(self.dropout(x))


class QuantileHead(Module):
    """Maps each token to quantiles of ``outputs`` numbers, which never cross.

    The lowest quantile is free; each further one adds a positive step (softplus).

    Args:
        dim: Channels of a token.
        outputs: Numbers per token.
        quantiles: Levels in (0, 1), rising.

    Shape:
        x: (B, N, dim). Output: (B, N, outputs, quantiles).

    Source:
        Gasthaus et al. 2019, https://proceedings.mlr.press/v89/gasthaus19a.html, section 3 (monotone
        increments).
    """

    def __init__(
        self, dim: int, outputs: int, *, quantiles: Sequence[float] = (0.1, 0.5, 0.9)
    ) -> None:
        super().__init__()
        levels = list(quantiles)
        if not levels or levels != sorted(set(levels)) or not 0 < levels[0] <= levels[-1] < 1:
            raise UserError(f"quantiles must rise strictly within (0, 1), got {levels}")
        self.quantiles = tuple(levels)
        self.outputs = outputs
        self.projection = nn.Linear(dim, outputs * len(levels))

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Returns the quantiles."""
        raw = self.projection(x).unflatten(-1, (self.outputs, len(self.quantiles)))
        first, steps = raw[..., :1], nn.functional.softplus(raw[..., 1:])
        return nn.functional.pad(steps.cumsum(dim=-1), (1, 0)) + first
