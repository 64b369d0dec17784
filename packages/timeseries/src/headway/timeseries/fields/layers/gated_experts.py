"""Feed-forwards among which the position in space chooses."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP, FeedForward
from headway.core.module import Module


class GatedExperts(Module):
    """Several feed-forwards, each weighed at each point; the weights come from elsewhere.

    Args:
        dim: Channels of a token.
        experts: Feed-forwards.
        feedforward: Builds one of them, ``(dim)``.

    Shape:
        x: (B, N, dim). gates: (B, N, experts). Output: the same as x.

    Raises:
        UserError: If there is no expert.

    Source:
        Hao et al. 2023 (GNOT), https://arxiv.org/abs/2302.14376, section 3.4.
    """

    def __init__(
        self, dim: int, experts: int, *, feedforward: Callable[[int], FeedForward] = MLP
    ) -> None:
        super().__init__()
        if experts < 1:
            raise UserError(f"experts must be at least 1, got {experts}")
        self.experts = nn.ModuleList(feedforward(dim) for _ in range(experts))

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        """Returns the weighed sum."""
        found = torch.stack([expert(x) for expert in self.experts], dim=-1)
        return (found * gates[:, :, None]).sum(dim=-1)


class GeometricGate(Module):
    """Says from the coordinates of a point how much each expert counts there.

    Args:
        axes: Coordinates of a point.
        dim: Hidden channels.
        experts: Feed-forwards.

    Shape:
        points: (B, N, axes). Output: (B, N, experts), adding up to 1.
    """

    def __init__(self, axes: int, dim: int, experts: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(axes, dim),
            nn.GELU(),
            nn.Linear(dim, dim),
            nn.GELU(),
            nn.Linear(dim, experts),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Returns the weights."""
        return self.layers(points).softmax(dim=-1)
