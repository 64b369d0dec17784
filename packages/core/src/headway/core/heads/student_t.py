"""Student's t as the answer of a model: a head, and what can be asked of its distributions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headway.core.answers import answer
from headway.core.layout import Layout
from headway.core.module import Module


@answer
class StudentT(NamedTuple):
    """Student's t-distributions.

    Args:
        df: Degrees of freedom, above 2.
        loc: Mean and median.
        scale: Width, positive.

    Shape:
        All three broadcast to one shape.
    """

    df: Tensor
    loc: Tensor
    scale: Tensor

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log density of values."""
        df = self.df
        z = (value - self.loc) / self.scale
        constant = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * torch.log(math.pi * df)
        return constant - torch.log(self.scale) - (df + 1) / 2 * torch.log1p(z.square() / df)

    def quantiles(self, levels: Sequence[float]) -> Tensor:
        """Returns the values below which the shares ``levels`` lie, as a last axis.

        Shape:
            Output: (..., levels).
        """
        level = torch.as_tensor(list(levels), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc[..., None] + self.scale[..., None] * standard_quantiles(
            self.df[..., None], level
        )


class StudentTHead(Module):
    """Maps each token to Student's t-distributions of ``outputs`` numbers.

    The degrees of freedom stay above 2, so that the variance exists.

    Args:
        dim: Channels of a token.
        outputs: Numbers per token.

    Shape:
        x: (B, N, dim). Output: ``StudentT`` of (B, N, outputs).

    Source:
        Salinas et al. 2017, https://arxiv.org/abs/1704.04110, section 3.1 (parameters through softplus).
    """

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.projection = nn.Linear(dim, outputs * 3)

    def forward(self, x: Tensor, layout: Layout | None = None) -> StudentT:
        """Returns the distributions."""
        df, loc, scale = self.projection(x).unflatten(-1, (self.outputs, 3)).unbind(dim=-1)
        softplus = nn.functional.softplus
        # A width of 0 would make the density of a single value infinite.
        return StudentT(2.0 + softplus(df), loc, softplus(scale) + 1e-4)


def standard_quantiles(df: Tensor, level: Tensor) -> Tensor:
    """Returns quantiles of Student's t with location 0 and width 1, to three digits or better.

    Args:
        df: Degrees of freedom, at least 2.
        level: Shares in (0, 1).

    Shape:
        Both broadcast against each other.

    Source:
        Hill 1970, Algorithm 396: Student's t-quantiles, https://doi.org/10.1145/355598.355600.
    """
    df, level = torch.broadcast_tensors(df, level)
    both = 2 * torch.minimum(level, 1 - level)  # probability of both tails
    a = 1 / (df - 0.5)
    b = 48 / a.square()
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * torch.sqrt(a * (math.pi / 2)) * df
    y = (d * both).pow(2 / df)

    x = torch.special.ndtri(both / 2)
    near = c + torch.where(df < 5, 0.3 * (df - 4.5) * (x + 0.6), 0.0)
    near = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + near
    x2 = x.square()
    centre = (((((0.4 * x2 + 6.3) * x2 + 36) * x2 + 94.5) / near - x2 - 3) / b + 1) * x
    centre = torch.expm1(a * centre.square())

    inner = 1 / (((df + 6) / (df * y) - 0.089 * d - 0.822) * (df + 2) * 3) + 0.5 / (df + 4)
    tail = (inner * y - 1) * (df + 1) / (df + 2) + 1 / y

    size = torch.sqrt(df * torch.where(y > 0.05 + a, centre, tail))
    return torch.where(both < 1, torch.sign(level - 0.5) * size, 0.0)
