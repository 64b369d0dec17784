"""Levels that are the same, turned or mirrored."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headway.rl.sokoban.level import Level


def signature(level: Level) -> bytes:
    """Returns what the eight symmetric copies of a level have in common, worker, boxes and docks with it."""
    return min(np.packbits(planes > 0).tobytes() for planes in _turned(level))


def variants(level: Level) -> Iterator[Level]:
    """Yields the level turned and mirrored in all eight ways."""
    for planes in _turned(level):
        yield Level.of_planes(planes)


def _turned(level: Level) -> Iterator[NDArray[np.float32]]:
    planes = level.seen(level.beginning)
    for turn in range(4):
        turned = np.rot90(planes, turn, axes=(1, 2))
        yield turned
        yield turned.transpose(0, 2, 1)
