"""The base of the positions that act inside attention."""

from typing import Any

from torch import Tensor

from headway.core.module import Module


class Position(Module):
    """Turns positions into a rotation of queries and keys, a bias of the scores, or a part of the values.

    Attributes:
        adds_values: Whether ``values`` adds something; attention then needs its weights as a tensor.
    """

    adds_values: bool = False

    def rotate(
        self, query: Tensor, key: Tensor, query_positions: Tensor, key_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns queries and keys turned by their positions.

        Shape:
            query: (B, H, T, D). key: (B, Hkv, S, D). positions: (B or 1, T or S, axes).
        """
        return query, key

    def only_rotates(self) -> bool:
        """Returns whether ``rotate`` says it all: what a mixer without a matrix of scores can use."""
        return type(self).bias_spec is Position.bias_spec and not self.adds_values

    def bias_spec(
        self, query: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> dict[str, Any]:
        """Returns the keyword arguments for ``ops.attention`` that express the bias.

        Args:
            query: Queries before ``rotate``, for positions that depend on the content.
            query_positions: Positions of the queries.
            key_positions: Positions of the keys.
            prefix: Leading tokens (of queries and of keys) without a position: they get no bias.
        """
        return {}

    def distance_spec(self, query: Tensor, keys: int) -> dict[str, Any]:
        """Returns the same for tokens in order, by their distance; empty where that saves nothing.

        Args:
            query: Queries before ``rotate``; the first one sits where the first key does.
            keys: How many keys there are.
        """
        return {}

    def values(
        self, weights: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> Tensor:
        """Returns what is added to the output of attention because values depend on the position.

        Args:
            weights: What each query takes from each key.
            query_positions: Positions of the queries.
            key_positions: Positions of the keys.
            prefix: Leading tokens (of queries and of keys) without a position.

        Shape:
            weights: (B, H, T, S). positions: (B or 1, T or S, axes). Output: (B, H, T, D).
        """
        raise NotImplementedError(f"{type(self).__name__} adds nothing to values")
