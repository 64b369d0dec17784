"""A block whose cross-attention is let in by gates."""

from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.residual import NormFactory, Residual


class GatedResidual(Residual):
    """``norm(a * x + b * f(x))``, where both say, channel by channel, how much of each goes on.

    Source:
        Peng et al. 2024 (D-FINE), https://arxiv.org/abs/2410.13842, and its code.
    """

    def __init__(
        self, dim: int, function: nn.Module, *, norm: NormFactory, drop_path: float = 0.0
    ) -> None:
        super().__init__(dim, function, norm=norm, drop_path=drop_path)
        self.gate = nn.Linear(2 * dim, 2 * dim)
        self.init_own_()

    def init_own_(self) -> None:
        """Begins with half of each."""
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Normalises the gated sum."""
        branch = self.scaled(branch)
        one, other = self.gate(torch.cat([x, branch], dim=-1)).sigmoid().chunk(2, dim=-1)
        return self.norm(one * x + other * branch)


class GatedBlock(PostNormBlock):
    """A ``PostNormBlock`` whose cross-attention stands behind a ``GatedResidual``.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixers.
        **parts: As of a ``PostNormBlock``.
    """

    def __init__(self, dim: int, heads: int, **parts: Any) -> None:
        super().__init__(dim, heads, **parts)
        plain = self.cross
        norm = parts["norm"]
        rate = parts.get("drop_path", 0.0)
        self.cross = GatedResidual(dim, plain.function, norm=norm, drop_path=rate)
