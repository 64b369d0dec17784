"""Attention on a grid, axis by axis, with kernels of the whole field."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import GLU
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads, check_rotation
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.positions import Position, Rotary
from headway.core.systems import system


class FieldNorm(Module):
    """Normalises each head over its channels and all positions of the field; nothing is learned.

    Args:
        heads: Heads.
        eps: Added to the variance.

    Shape:
        x: (B, N, heads * head_dim). Output: the same.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2305.17560, section 3.2.
    """

    def __init__(self, heads: int, *, eps: float = 1e-8) -> None:
        super().__init__()
        self.heads, self.eps = heads, eps

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised field."""
        # torch's group norm, which fixes the batch of an exported graph, written out.
        parts = x.unflatten(2, (self.heads, -1))
        centred = parts - parts.mean(dim=(1, 3), keepdim=True)
        variance = centred.square().mean(dim=(1, 3), keepdim=True)
        return (centred * (variance + self.eps).rsqrt()).flatten(2)


@system(
    id=172,
    name="FactFormer (factorised kernel integral)",
    paper="https://arxiv.org/abs/2305.17560",
    claim="one small kernel per axis, of the field averaged over the other axes, equals the kernel of all "
    "pairs that is their product, without ever making it; positions included, twice as many positions give "
    "the same field",
    test="packages/core/tests/parts/mixers/kernelized/test_factorized_attention.py",
)
class FactorizedAttention(TokenMixer):
    """Integrates a field with one kernel along each axis in turn; nothing is normalised by a softmax.

    The field is projected and averaged over all axes but one; queries and keys of that profile give the
    kernel of the axis, ``n x n`` for its n positions. An integral over a grid is an average, and positions
    are shares of an axis: twice as many positions give the same.

    Args:
        dim: Channels of a token.
        heads: Heads.
        axes: Axes of the grid.
        head_dim: Width of the values of a head; ``dim / heads`` if None.
        kernel_dim: Width of the queries and keys of a head; three times ``head_dim`` if None.
        position: Builds what turns the positions along an axis into rotations, ``(heads, kernel_dim)``; no
            positions if None.
        places: How many places an axis has for ``position``, whatever the grid: place ``i`` of ``n`` is
            given as ``places * i / n``.
        walls: Whether the first and the last position lie on the ends of the axis (``i / (n - 1)``), not on
            a grid that goes round.
        norm: Builds the norm of the integral, ``(heads)``; none if None.
        kernel_norm: Builds the norm of queries and of keys, ``(kernel_dim)``; none if None, as published.

    Shape:
        x: (B, N, dim) on a grid of that many axes, last axis fastest. Output: the same.

    Raises:
        UserError: If the heads do not divide ``dim``, or there is no axis.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2305.17560, section 3.2. The authors' code adds up over the
        positions where this averages, and takes the unbiased variance, so that theirs depends on the grid; it
        starts queries and keys 50 times smaller.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        axes: int = 2,
        head_dim: int | None = None,
        kernel_dim: int | None = None,
        position: Callable[[int, int], Position] | None = Rotary,
        places: float = 64.0,
        walls: bool = False,
        norm: Callable[[int], nn.Module] | None = FieldNorm,
        kernel_norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if axes < 1:
            raise UserError(f"axes must be at least 1, got {axes}")
        if places <= 0 or (kernel_dim is not None and kernel_dim < 1):
            raise UserError(f"places {places} and kernel_dim {kernel_dim} must be above 0")
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads, self.axes, self.places, self.walls = heads, axes, places, walls
        width = 3 * self.head_dim if kernel_dim is None else kernel_dim
        inner = heads * self.head_dim
        self.v = nn.Linear(dim, inner, bias=False)
        self.enter = nn.Linear(dim, dim, bias=False)
        self.reduce = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(axes))
        self.profiles = nn.ModuleList(
            nn.Sequential(LayerNorm(dim, eps=1e-5), GLU(dim, hidden_dim=dim, activation=nn.GELU))
            for _ in range(axes)
        )
        sections = {"q": heads * width, "k": heads * width}
        self.qk = nn.ModuleList(FusedLinear(dim, sections, bias=False) for _ in range(axes))
        self.position = position(heads, width) if position is not None else None
        check_rotation(self, self.position)
        self.norm = norm(heads) if norm is not None else None
        self.kernel_norm = kernel_norm(width) if kernel_norm is not None else None
        self.projection = nn.Sequential(
            nn.Linear(inner, dim, bias=False), nn.GELU(), nn.Linear(dim, dim, bias=False)
        )

    def kernel(self, field: Tensor, axis: int) -> Tensor:
        """Returns the kernel along one axis.

        Shape:
            field: (B, *grid, dim). Output: (B, heads, n, n).
        """
        others = tuple(1 + other for other in range(self.axes) if other != axis)
        profile = self.enter(field)
        # Averaged before the projection, which is linear: the same, for a row in place of the field.
        profile = self.reduce[axis](profile.mean(dim=others) if others else profile)
        query, key = (
            part.unflatten(2, (self.heads, -1))
            for part in self.qk[axis](self.profiles[axis](profile)).chunk(2, dim=2)
        )
        if self.kernel_norm is not None:
            query, key = self.kernel_norm(query), self.kernel_norm(key)
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        count = profile.shape[1]
        if self.position is not None:
            at = torch.arange(count, device=field.device, dtype=torch.float32)
            at = (self.places / max(1, count - self.walls) * at)[None, :, None]
            query, key = self.position.rotate(query, key, at, at)
        return query @ key.transpose(2, 3) / count

    def mix(
        self,
        x: Tensor,
        layout: Layout,
    ) -> Tensor:
        """Integrates along each axis."""
        grid = layout.grid if layout.grid is not None else (x.shape[1],)
        if len(grid) != self.axes or layout.positions is not None:
            raise UserError(
                f"FactorizedAttention(axes={self.axes}) needs all tokens on a grid of {self.axes} axes, "
                f"got {grid}"
            )
        field = x.unflatten(1, grid)
        value = self.v(x).unflatten(2, (self.heads, -1)).transpose(1, 2).unflatten(2, grid)
        for axis in range(self.axes):
            kernel = self.kernel(field, axis)
            # The axis comes to the front of the others and takes the product.
            moved = value.movedim(2 + axis, 2)
            value = (kernel @ moved.flatten(3)).unflatten(3, moved.shape[3:]).movedim(2, 2 + axis)
        out = value.flatten(2, 1 + self.axes).transpose(1, 2).flatten(2)
        return self.projection(out if self.norm is None else self.norm(out))
