"""How far a token sees: windows and chunks."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention.request import Window, reach

Chunks = int | tuple[int, int]


def check_window(window: int | Window | None, causal: bool) -> Window | None:
    """Returns the reach to the left and to the right, in tokens; None is without limit.

    Raises:
        UserError: If a reach is negative, or there is one to the right of causal attention.
    """
    found = reach(window)
    if causal and not isinstance(window, int) and found is not None and found[1]:
        raise UserError(
            f"window is {window}, and causal attention sees nothing to the right; use "
            f"window=({found[0]}, 0), or causal=False"
        )
    return found


def check_chunks(chunks: Chunks | None, causal: bool) -> tuple[int, int | None] | None:
    """Returns the size of a chunk and how many of the past are seen; None is all of them.

    Raises:
        UserError: If a number is too small, or attention is causal, too.
    """
    if chunks is None:
        return None
    size, left = chunks if isinstance(chunks, tuple | list) else (chunks, None)
    if size < 1 or (left is not None and left < 0):
        raise UserError(
            f"chunks is {chunks}; a chunk has 1 or more tokens, and sees 0 or more chunks of the past"
        )
    if causal:
        raise UserError(
            "chunks say what a token sees, and so does causal=True; leave one of them out"
        )
    return size, left


def chunk_mask(queries: Tensor, keys: Tensor, size: int, left: int | None) -> Tensor:
    """Which keys are seen if tokens come in chunks: those of the own chunk and of ``left`` before it.

    Args:
        queries: Positions of the queries in the sequence, from 0.
        keys: Positions of the keys.
        size: Tokens of a chunk.
        left: Chunks of the past; all if None.

    Shape:
        queries: (..., T). keys: (..., S). Output: (..., T, S), boolean.

    Source:
        Zhang et al. 2020, https://arxiv.org/abs/2012.05481, section 2.3 (dynamic chunk training).
    """
    own = torch.div(queries, size, rounding_mode="floor")[..., :, None]
    other = torch.div(keys, size, rounding_mode="floor")[..., None, :]
    seen = other <= own
    return seen if left is None else seen & (other >= own - left)


def window_mask(queries: Tensor, keys: Tensor, left: int | None, right: int | None) -> Tensor:
    """Which keys lie within a reach of each query; None is without limit.

    Shape:
        queries: (..., T). keys: (..., S). Output: (..., T, S), boolean.
    """
    away = keys[..., None, :] - queries[..., :, None]
    seen = torch.ones_like(away, dtype=torch.bool)
    if left is not None:
        seen = seen & (away >= -left)
    return seen if right is None else seen & (away <= right)
