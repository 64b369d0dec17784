"""The base of the positions that act inside attention."""

from typing import Any

from torch import Tensor

from headway.core.module import Module


class Position(Module):
    """Turns places into a rotation of queries and keys, into a bias of the scores, or both."""

    def rotate(
        self, query: Tensor, key: Tensor, query_positions: Tensor, key_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns queries and keys turned by their places.

        Shape:
            query: (B, H, T, D). key: (B, Hkv, S, D). positions: (B or 1, T or S, axes).
        """
        return query, key

    def bias_spec(
        self, query: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> dict[str, Any]:
        """Returns the keyword arguments for ``ops.attention`` that express the bias.

        Args:
            query: Queries before ``rotate``, for positions that depend on the content.
            query_positions: Places of the queries.
            key_positions: Places of the keys.
            prefix: Leading tokens (of queries and of keys) without a place: they get no bias.
        """
        return {}

    def distance_spec(self, query: Tensor, keys: int) -> dict[str, Any]:
        """Returns the same for tokens in order, by their distance; empty where that saves nothing.

        Args:
            query: Queries before ``rotate``; the first one sits where the first key does.
            keys: How many keys there are.
        """
        return {}
