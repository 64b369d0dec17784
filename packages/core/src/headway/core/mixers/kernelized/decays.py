"""Decays of linear attention: how much of its state is left at each token."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.systems import system


@system(
    id=None,
    name="RetNet (retention)",
    paper="https://arxiv.org/abs/2307.08621",
    claim="weights fall by a constant factor per token and head, at once or step by step",
    test="packages/core/tests/parts/mixers/kernelized/test_linear_attention.py",
)
class FixedDecay(Module):
    """One constant per head: ``1 - 2 ** -(5 + h)`` of the state is left at each token.

    Args:
        dim: Channels of a token.
        heads: Heads.
        width: Features of a head.

    Shape:
        x: (B, N, dim). Output: (1, heads, 1, 1), logarithms.

    Source:
        Sun et al. 2023, https://arxiv.org/abs/2307.08621, section 2.2.
    """

    log_decay: Tensor

    def __init__(self, dim: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the logarithm of what is left, per head."""
        left = 1 - 2 ** -(5 + torch.arange(self.heads, dtype=torch.float64))
        return {"log_decay": left.log().float()[None, :, None, None]}

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logarithms of decay."""
        return self.log_decay


@system(
    id=None,
    name="Gated linear attention",
    paper="https://arxiv.org/abs/2312.06635",
    claim="a gate of each token and channel decides what is left of the state",
    test="packages/core/tests/parts/mixers/kernelized/test_linear_attention.py",
)
class LearnedDecay(Module):
    """What each token leaves of the state, per channel or head, from a projection of the token.

    Args:
        dim: Channels of a token.
        heads: Heads.
        width: Features of a head.
        rank: Width of the bottleneck of the projection.
        temperature: The logarithm of a sigmoid is divided by it, so that gates begin near one.
        per_head: Whether all channels of a head share a gate.

    Shape:
        x: (B, N, dim). Output: (B, heads, N, width), or (B, heads, N, 1) with `per_head`; logarithms.

    Source:
        Yang et al. 2023, https://arxiv.org/abs/2312.06635, section 4.4.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        width: int,
        *,
        rank: int = 16,
        temperature: float = 16.0,
        per_head: bool = False,
    ) -> None:
        super().__init__()
        if rank < 1 or temperature <= 0:
            raise UserError(
                f"rank {rank} must be at least 1 and temperature {temperature} above 0 (16 and 16.0)"
            )
        self.heads, self.temperature = heads, temperature
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, heads * (1 if per_head else width))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logarithms of decay."""
        gates = self.up(self.down(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        gates = gates.to(torch.promote_types(gates.dtype, torch.float32))
        return F.logsigmoid(gates) / self.temperature
