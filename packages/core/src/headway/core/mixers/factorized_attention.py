"""Attention on a grid, axis by axis, with kernels of the whole field."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.positions import Position
from headway.core.systems import system


@system(
    id=172,
    name="FactFormer (factorised kernel integral)",
    paper="https://arxiv.org/abs/2305.17560",
    claim="one small kernel per axis, of the field averaged over the other axes, equals the kernel of all "
    "pairs that is their product, without ever making it",
    test="packages/core/tests/parts/test_factorized_attention.py",
)
class FactorizedAttention(TokenMixer):
    """Integrates a field with one kernel along each axis in turn; nothing is normalised by a softmax.

    The field is projected and averaged over all axes but one; queries and keys of that profile give the
    kernel of the axis, ``n x n`` for its n places. An integral over a grid is an average: twice as many
    places give the same.

    Args:
        dim: Channels of a token.
        heads: Heads.
        axes: Axes of the grid.
        head_dim: Width of a head; ``dim / heads`` if None.
        position: Builds what turns the places along an axis into rotations, ``(heads, head_dim)``.

    Shape:
        x: (B, N, dim) on a grid of that many axes, last axis fastest. Output: the same.

    Raises:
        UserError: If the heads do not divide ``dim``, or there is no axis.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2305.17560, section 3.2. Queries and keys are normalised per
        head, where its code normalises kernels.
    """

    supports: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        axes: int = 2,
        head_dim: int | None = None,
        position: Callable[[int, int], Position] | None = None,
    ) -> None:
        super().__init__()
        if axes < 1:
            raise UserError(f"axes must be at least 1, got {axes}")
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads, self.axes = heads, axes
        inner = heads * self.head_dim
        self.v = nn.Linear(dim, inner)
        self.enter = nn.ModuleList(nn.Linear(dim, dim) for _ in range(axes))
        self.profiles = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim)) for _ in range(axes)
        )
        self.qk = nn.ModuleList(FusedLinear(dim, {"q": inner, "k": inner}) for _ in range(axes))
        self.position = position(heads, self.head_dim) if position is not None else None
        self.projection = nn.Linear(inner, dim)

    def kernel(self, field: Tensor, axis: int) -> Tensor:
        """Returns the kernel along one axis.

        Shape:
            field: (B, *grid, dim). Output: (B, heads, n, n).
        """
        others = tuple(1 + other for other in range(self.axes) if other != axis)
        profile = self.enter[axis](field)
        profile = self.profiles[axis](profile.mean(dim=others) if others else profile)
        query, key = (
            F.layer_norm(part.unflatten(2, (self.heads, -1)), (self.head_dim,)).transpose(1, 2)
            for part in self.qk[axis](profile).chunk(2, dim=2)
        )
        places = profile.shape[1]
        if self.position is not None:
            at = torch.arange(places, device=field.device, dtype=torch.float32)[None, :, None]
            query, key = self.position.rotate(query, key, at, at)
        return query @ key.transpose(2, 3) / (places * self.head_dim**0.5)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
        bias: Tensor | None,
        mask: Tensor | None,
        cache: Cache | None,
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
        return self.projection(out)
