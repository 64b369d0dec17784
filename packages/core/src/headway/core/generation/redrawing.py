"""Sequences that are drawn again until each is accepted: rejection sampling."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.generation.generate import Generated


class Redrawn(NamedTuple):
    """Accepted sequences, and what they cost.

    Args:
        found: One sequence for each place; the last that was drawn where none was accepted.
        accepted: Whether it was, (count,).
        draws: How many were drawn in all.
    """

    found: Generated
    accepted: Tensor
    draws: int


def redraw(
    draw: Callable[[Tensor], Generated],
    accepts: Callable[[Generated], Sequence[bool]],
    count: int,
    *,
    most: int = 100,
) -> Redrawn:
    """Draws a sequence for each place, and those that are refused again.

    Args:
        draw: Draws sequences for some places, (R,), in their order; with other random numbers each time.
        accepts: Says of each which are accepted.
        count: Places.
        most: How often a place is drawn at most.
    """
    places = torch.arange(count)
    found = draw(places)
    accepted = torch.tensor(list(accepts(found)))
    draws = count
    for _ in range(most - 1):
        places = (~accepted).nonzero()[:, 0]
        if not len(places):
            break
        again = draw(places)
        draws += len(places)
        found = _replaced(found, places, again)
        accepted[places] = torch.tensor(list(accepts(again)))
    return Redrawn(found, accepted, draws)


def _replaced(found: Generated, places: Tensor, other: Generated) -> Generated:
    width = max(found.tokens.shape[1], other.tokens.shape[1])
    merged: list[Tensor] = []
    for mine, new in zip(found, other, strict=True):
        rows = new.to(mine.device)
        if mine.ndim == 2:
            # What stands behind an end is not read, so any filling does.
            mine = F.pad(mine, (0, width - mine.shape[1]))
            rows = F.pad(rows, (0, width - rows.shape[1]))
        merged.append(mine.index_copy(0, places.to(mine.device), rows))
    return Generated(*merged)
