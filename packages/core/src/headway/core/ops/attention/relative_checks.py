"""Checks of the second product of queries and keys."""

from torch import Tensor

from headway.core.errors import UserError


def shape_text(tensor: Tensor) -> str:
    """The shape as messages say it."""
    return str(tuple(tensor.shape))


def check_relative(
    query: Tensor, key: Tensor, relative_query: Tensor, relative_key: Tensor
) -> None:
    """Checks keys by number: (B or 1, Hkv or 1, S, R)."""
    batch, kv_heads, keys, _ = key.shape
    _check_query(query, relative_query, "relative_key", relative_key)
    fits = relative_key.dim() == 4 and (
        relative_key.shape[0] in (1, batch)
        and relative_key.shape[1] in (1, kv_heads)
        and relative_key.shape[2] == keys
    )
    if not fits:
        raise UserError(
            f"relative_key has shape {shape_text(relative_key)}; use ({batch} or 1, {kv_heads} or 1, "
            f"{keys}, R)"
        )
    _check_features(relative_query, "relative_key", relative_key)


def check_distances(
    query: Tensor, key: Tensor, relative_query: Tensor, distance_key: Tensor, own_offsets: bool
) -> None:
    """Checks keys by distance: (H or 1, T + S - 1, R).

    Args:
        query: Queries.
        key: Keys.
        relative_query: Queries of the second product.
        distance_key: Its keys.
        own_offsets: Whether the keys have offsets of their own.
    """
    _, heads, queries, _ = query.shape
    count = max(queries + key.shape[2] - 1, 0)
    _check_query(query, relative_query, "distance_key", distance_key)
    fits = distance_key.dim() == 3 and (
        (distance_key.shape[0] == 1 or distance_key.shape[0] == heads)
        and distance_key.shape[1] == count
    )
    if not fits:
        raise UserError(
            f"distance_key has shape {shape_text(distance_key)}; use ({heads} or 1, {count}, R): "
            "one row per distance, queries + keys - 1 of them"
        )
    _check_features(relative_query, "distance_key", distance_key)
    if own_offsets:
        raise UserError(
            "distance_key was given with key_offsets: packed items whose keys start elsewhere than their "
            "queries have no common distances; pass relative_key"
        )


def _check_query(query: Tensor, relative_query: Tensor, name: str, other: Tensor) -> None:
    for label, tensor in (("relative_query", relative_query), (name, other)):
        if tensor.dtype != query.dtype:
            raise UserError(
                f"{label} is {tensor.dtype} and query is {query.dtype}; cast them to one dtype"
            )
    if relative_query.dim() != 4 or not relative_query.shape[:3] == query.shape[:3]:
        raise UserError(
            f"relative_query has shape {shape_text(relative_query)}; use (batch, heads, queries, features) = "
            f"({', '.join(str(size) for size in query.shape[:3])}, R)"
        )


def _check_features(relative_query: Tensor, name: str, other: Tensor) -> None:
    if not relative_query.shape[3] == other.shape[-1]:
        raise UserError(
            f"relative_query has {relative_query.shape[3]} features and {name} "
            f"{other.shape[-1]}; they must be equal"
        )
