"""The base of all feed-forwards."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.module import Module


class FeedForward(Module):
    """Transforms tokens without moving information between them (most need no layout).

    Attributes:
        stepwise: Whether a token alone gives what it gives among others, as a cache needs it.
    """

    stepwise: ClassVar[bool] = True

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Returns the transformed tokens, (B, N, C)."""


def hidden_width(dim: int, hidden_dim: int | None, mlp_ratio: float) -> int:
    """Returns the hidden width, given itself or as a multiple of ``dim`` (rounded down)."""
    width = int(dim * mlp_ratio) if hidden_dim is None else hidden_dim
    if width < 1:
        raise UserError(
            f"a hidden width of {width} (dim {dim}, mlp_ratio {mlp_ratio}) must be at least 1"
        )
    return width
