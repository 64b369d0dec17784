"""Learned vectors for relative places of a picture, the far ones in groups."""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.positions.base import Position
from headway.core.systems import system

Method = Literal["product", "cross", "euclidean"]
# The group of the farthest, and where it begins, in units of what is still told apart exactly.
_GROUPS, _FARTHEST = 2, 8


@system(
    id=163,
    name="iRPE",
    paper="https://arxiv.org/abs/2107.14222",
    claim="what a query says to a place depends on the direction of the place and on the query itself",
    test="packages/core/tests/parts/test_image_relative.py",
)
class ImageRelativeVectors(Position):
    """Adds to each score the product of the query with a learned vector of where the key is, seen from it.

    Near places have a vector each, farther ones share it, in groups that widen with the logarithm of the
    distance. Pairs with a prefix token share one of their own. Vectors begin at zero.

    Args:
        heads: Heads.
        head_dim: Width of a head.
        method: How a place is named: "product" by row and column together, "cross" by the sum of a vector of
            the row and one of the column, "euclidean" by the distance alone.
        ratio: Distances up to so many tokens are told apart; those beyond 8 times as many are one group.
        shared: Whether all heads share the vectors.

    Raises:
        UserError: If ``ratio`` is under 1 or ``method`` is not known.

    Source:
        Wu et al. 2021, https://arxiv.org/abs/2107.14222, eq. 15 to 18: contextual, on keys.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("table",)

    def __init__(
        self,
        heads: int,
        head_dim: int,
        *,
        method: Method = "product",
        ratio: float = 1.9,
        shared: bool = True,
    ) -> None:
        super().__init__()
        if method not in ("product", "cross", "euclidean"):
            raise UserError(f"method is 'product', 'cross' or 'euclidean', got {method!r}")
        if ratio < 1:
            raise UserError(f"ratio {ratio} must be at least 1: neighbours could not be told apart")
        self.method, self.ratio, self.head_dim = method, ratio, head_dim
        self.reach = int(_GROUPS * ratio)
        self.side = 2 * self.reach + 1
        rows = {"product": self.side**2, "cross": 2 * self.side, "euclidean": self.side}[method]
        # The last ones are for pairs with a prefix token, one of each axis where axes are apart.
        self.rows = rows
        extra = 2 if method == "cross" else 1
        self.table = nn.Parameter(torch.zeros(1 if shared else heads, head_dim, rows + extra))

    def groups(self, distance: Tensor) -> Tensor:
        """Returns the group of each distance in tokens, from ``-reach`` to ``reach``."""
        near, farthest = self.ratio, _FARTHEST * self.ratio
        size = distance.abs().float()
        grown = (size.clamp_min(near) / near).log() / math.log(farthest / near)
        # Cut after rounding, as in the authors' code: the last group is a whole number.
        far = (near + grown * (_GROUPS - 1) * self.ratio).round().clamp_max(_GROUPS * self.ratio)
        group = torch.where(size <= near, size.round(), far.trunc())
        return (distance.sign() * group).long()

    def index(self, query_positions: Tensor, key_positions: Tensor) -> list[Tensor]:
        """Returns the rows of the table for each pair, (B or 1, T, S); two of them for "cross"."""
        if query_positions.shape[-1] != 2:
            raise UserError(
                "ImageRelativeVectors is of pictures, got positions with "
                f"{query_positions.shape[-1]} coordinates; use RelativeVectors for sequences"
            )
        difference = query_positions[:, :, None] - key_positions[:, None]
        if self.method == "euclidean":
            distance = difference.float().square().sum(-1).sqrt().round()
            return [self.groups(distance) + self.reach]
        row, column = (self.groups(one) + self.reach for one in difference.unbind(-1))
        if self.method == "product":
            return [row * self.side + column]
        return [row, column + self.side]

    def bias_spec(
        self, query: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> dict[str, Any]:
        """Returns the products, scaled as the scores are."""
        products = (query * self.head_dim**-0.5) @ self.table.to(query.dtype)
        bias = None
        for extra, index in enumerate(self.index(query_positions, key_positions)):
            if prefix:
                front = [torch.arange(n, device=index.device) < prefix for n in index.shape[1:]]
                index = index.masked_fill(front[0][:, None] | front[1], self.rows + extra)
            found = products.gather(-1, index[:, None].expand(*products.shape[:3], -1))
            bias = found if bias is None else bias + found
        return {"bias": bias}
