"""How the tokens of a batch are arranged."""

import dataclasses
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.private_torch import pytree


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """How the tokens ``x: (B, N, C)`` are arranged; passed beside ``x`` and never changed in place.

    ``N = prefix + prod(grid)``, or ``prefix`` plus the sum over ``levels``; without either, N is free.
    At most one of ``lengths``, ``valid`` and ``offsets`` is given.

    Args:
        grid: (H, W) or (T, H, W) of the tokens behind the prefix, last axis fastest.
        levels: Grids of a multi-scale memory, one behind the other.
        prefix: Class, register and prompt tokens in front; they have no position on the grid.
        lengths: Tokens of each right-padded item, prefix counted.
        valid: True where a token is real, for any padding that is not on the right.
        offsets: Where each packed item starts, with the total at the end; B is then 1.
        max_length: Longest packed item (static, so that a compiled graph never reads ``offsets``).
        positions: Where the tokens are when they no longer sit on their original ones.
        sizes: How many original tokens a merged token stands for.
        embedding: What attention adds to the tokens, in each layer anew, before it projects queries and
            keys (DETR); for mixers that support it.

    Shape:
        lengths: (B,). valid: (B, N). offsets: (items + 1,). positions: (B or 1, N, axes). sizes: (B, N).
        embedding: (B or 1, N, C).

    Raises:
        UserError: If more than one kind of padding is given, or ``offsets`` without ``max_length``.
    """

    grid: tuple[int, ...] | None = None
    levels: tuple[tuple[int, ...], ...] | None = None
    prefix: int = 0
    lengths: Tensor | None = None
    valid: Tensor | None = None
    offsets: Tensor | None = None
    max_length: int | None = None
    positions: Tensor | None = None
    sizes: Tensor | None = None
    embedding: Tensor | None = None

    def __post_init__(self) -> None:
        kinds = [
            name for name in ("lengths", "valid", "offsets") if getattr(self, name) is not None
        ]
        if len(kinds) > 1:
            raise UserError(
                f"a Layout takes one kind of padding, got {' and '.join(kinds)}; "
                "right padding is lengths, any other padding is valid, packed items are offsets"
            )
        if self.offsets is not None and self.max_length is None:
            raise UserError("a packed Layout needs max_length (int, longest item) beside offsets")
        if self.grid is not None and self.levels is not None:
            raise UserError("a Layout has a grid or levels, not both")

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def rows(self, index: Tensor) -> Self:
        """Returns the layout of some items of the batch.

        Args:
            index: Their numbers, (items,).

        Raises:
            UserError: If the items are packed into one.
        """
        if self.offsets is not None:
            raise UserError(
                "packed items cannot be taken out of a batch; pad them (lengths) instead"
            )
        changes = {}
        for name in ("lengths", "valid", "positions", "sizes", "embedding"):
            value = getattr(self, name)
            if value is not None and (len(value) > 1 or name in ("lengths", "valid", "sizes")):
                changes[name] = value[index]
        return self.replace(**changes)

    @property
    def padded(self) -> bool:
        """Whether some tokens may be padding."""
        return self.lengths is not None or self.valid is not None

    def without_positions(self) -> Self:
        """Returns the layout of tokens that left their positions: padding kept, grid and levels gone."""
        return self.replace(grid=None, levels=None)

    def check(self, x: Tensor) -> None:
        """Raises if ``x`` (B, N, C) cannot have this layout."""
        tokens = x.shape[1]
        grids = self.levels or ((self.grid,) if self.grid is not None else ())
        expected = self.prefix + sum(prod(grid) for grid in grids)
        # A grid with merged or packed tokens keeps its meaning through `positions`.
        if grids and self.positions is None and self.offsets is None and tokens != expected:
            raise UserError(
                f"got {tokens} tokens, but the layout has prefix {self.prefix} and grid "
                f"{self.levels or self.grid}, together {expected}"
            )

    def token_mask(self, tokens: int) -> Tensor | None:
        """Returns (B, N) bool, True where a token is real, or None where all are."""
        if self.valid is not None:
            return self.valid
        if self.lengths is not None:
            positions = torch.arange(tokens, device=self.lengths.device)
            return positions < self.lengths[:, None]
        return None

    def token_positions(self, tokens: int, device: torch.device | None = None) -> Tensor:
        """Returns where each token sits, as floats.

        Prefix tokens sit at 0, which a rotation leaves alone. Tokens without a grid are counted from 0
        behind the prefix, anew in every packed item; left-padded ones from the first valid token.

        Shape:
            Output: (B or 1, N, axes).
        """
        if self.positions is not None:
            return self.positions
        if self.grid is not None and self.offsets is None:
            axes = [torch.arange(size, device=device, dtype=torch.float32) for size in self.grid]
            positions = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
            return torch.cat([positions.new_zeros(self.prefix, len(axes)), positions])[None]
        if self.valid is not None:
            counted = self.valid.cumsum(dim=1) - 1 - self.prefix
            return counted.clamp_min(0).float()[..., None]
        positions = torch.arange(tokens, device=device)
        if self.offsets is not None:
            item = torch.searchsorted(self.offsets[1:].contiguous(), positions, right=True)
            positions = positions - self.offsets[item.clamp_max(len(self.offsets) - 2)]
        return (positions - self.prefix).clamp_min(0).float()[None, :, None]


_TENSORS = ("lengths", "valid", "offsets", "positions", "sizes", "embedding")
_STATIC = ("grid", "levels", "prefix", "max_length")


def _flatten(layout: Layout) -> tuple[list[Any], tuple[Any, ...]]:
    tensors = [getattr(layout, name) for name in _TENSORS]
    return tensors, tuple(getattr(layout, name) for name in _STATIC)


def _unflatten(tensors: Any, static: tuple[Any, ...]) -> Layout:
    # A tree map may put anything in the place of a tensor, so the checks are left out.
    layout = object.__new__(Layout)
    for name, value in zip((*_TENSORS, *_STATIC), (*tensors, *static), strict=True):
        object.__setattr__(layout, name, value)
    return layout


pytree.register_pytree_node(
    Layout, _flatten, _unflatten, serialized_type_name="headway.core.layout.Layout"
)
