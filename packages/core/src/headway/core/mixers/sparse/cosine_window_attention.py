"""Attention within windows whose scores are cosines."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from headway.core.mixers.sparse.window_attention import WindowAttention
from headway.core.ops.tracing import readable
from headway.core.passed import Passed
from headway.core.positions.continuous import ContinuousBias

# What is shorter has no direction.
_SHORTEST = 1e-12


class WindowOptions(TypedDict, total=False):
    """What every attention within windows takes."""

    window: int | Sequence[int]
    shift: int | Sequence[int]
    pad: Any
    shrink: bool
    head_dim: int | None
    qkv_bias: bool
    out_bias: bool
    dropout: float
    out_dropout: float


class CosineWindowAttention(WindowAttention):
    """``WindowAttention`` whose scores are cosines, with a bias that a small network makes of the places.

    Scores stay small in large models, whatever the size of queries and keys; each head has a learned factor
    of at most 100. Keys have no bias of their own.

    Args:
        dim: Channels of a token.
        heads: Heads.
        trained_window: Side of the windows of an earlier training, or (height, width), to whose border the
            places are scaled; the window itself if None.
        **options: As of ``WindowAttention``: window, shift, pad, shrink, head_dim, qkv_bias, out_bias,
            dropout and out_dropout.

    Shape:
        x: (B, H * W, dim) on a grid (H, W). Output: the same.

    Source:
        Liu et al. 2021 (Swin v2), https://arxiv.org/abs/2111.09883, section 3.
    """

    unbiased: ClassVar[tuple[str, ...]] = ("k",)
    scale: ClassVar[float | None] = 1.0
    undecayed: ClassVar[tuple[str, ...]] = ("log_scale",)

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        trained_window: int | Sequence[int] | None = None,
        **options: Passed[WindowOptions],
    ) -> None:
        if isinstance(trained_window, int):
            trained_window = (trained_window, trained_window)
        self._trained = trained_window
        super().__init__(dim, heads, **options)
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10)))

    def make_position(self) -> ContinuousBias:
        """Builds the biases of relative positions."""
        return ContinuousBias(
            self.heads, self.head_dim, grid=self.window, trained_grid=self._trained
        )

    def project(self, x: Tensor) -> Tensor:
        """Returns queries and keys of length one, the queries times the factors, and values."""
        projected = self.qkv(x).unflatten(-1, (3, self.heads, self.head_dim))
        factor = self.log_scale.clamp(max=math.log(100.0)).exp().flatten(1)
        factors = torch.stack([factor, torch.ones_like(factor)]).to(projected.dtype)
        directions = projected[..., :2, :, :]
        lengths = torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
        factors = factors / lengths.clamp_min(_SHORTEST)
        if not torch.is_grad_enabled() and readable(projected):
            directions.mul_(factors)
            return projected.flatten(-3)
        # One product for all three; slices of it would have to be joined again.
        factors = torch.cat([factors, torch.ones_like(factors[..., :1, :, :])], dim=-3)
        return (projected * factors).flatten(-3)
