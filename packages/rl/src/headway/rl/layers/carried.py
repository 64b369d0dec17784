"""What a recurrent model carries from step to step, as one row of numbers for each row of a batch."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from headway.core.cache import Cache, CacheGroup, RecurrentCache
from headway.core.errors import UserError


def carried(cache: Cache) -> Tensor:
    """Returns the states of a cache, (B, K).

    Raises:
        UserError: If what it holds grows with the past.
    """
    return torch.cat([one.state.flatten(1) for one in _states(cache)], dim=1)


def carry(cache: Cache, rows: Tensor) -> None:
    """Gives a cache the states that ``carried`` has returned.

    Shape:
        rows: (B, K).
    """
    place = 0
    for one in _states(cache):
        size = one.state[0].numel()
        one.state = rows[:, place : place + size].reshape(-1, *one.state.shape[1:]).to(one.state)
        place += size


def _states(cache: Cache) -> Iterator[RecurrentCache]:
    if isinstance(cache, CacheGroup):
        inner: Iterable[Cache] = cache
        for one in inner:
            yield from _states(one)
    elif isinstance(cache, RecurrentCache):
        yield cache
    else:
        raise UserError(
            f"a mixer remembers in a {type(cache).__name__}, which grows with the past; a mixer with a state "
            "of a fixed size is needed, such as headway.core.mixers.DiagonalStateSpace"
        )
