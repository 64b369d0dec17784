"""How far cells are from each other."""

from collections import deque
from collections.abc import Sequence


def distances(adjacent: Sequence[Sequence[int]], start: int) -> dict[int, int]:
    """Returns how many steps each cell that can be reached is away from a cell."""
    found, queue = {start: 0}, deque([start])
    while queue:
        cell = queue.popleft()
        for there in adjacent[cell]:
            if there not in found:
                found[there] = found[cell] + 1
                queue.append(there)
    return found
