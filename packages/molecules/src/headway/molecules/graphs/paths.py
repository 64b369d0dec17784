"""Shortest ways between the nodes of a graph."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNREACHABLE = 510


class Paths(NamedTuple):
    """Shortest ways from every node to every other.

    Args:
        distances: Steps, (N, N); ``UNREACHABLE`` where there is no way.
        nodes: The node after 1, 2, ... steps, (N, N, steps); -1 behind the end.
    """

    distances: NDArray[np.int64]
    nodes: NDArray[np.int64]


def shortest_paths(adjacency: NDArray[np.bool_], steps: int) -> Paths:
    """Returns shortest ways; of several the one that the Floyd-Warshall algorithm finds first.

    Args:
        adjacency: Whether two nodes are neighbours, (N, N).
        steps: How many nodes of each way are wanted at most.

    Source:
        Floyd 1962, https://doi.org/10.1145/367766.368168.
    """
    count = len(adjacency)
    distances = np.where(adjacency, 1, UNREACHABLE).astype(np.int64)
    np.fill_diagonal(distances, 0)
    between = np.full((count, count), -1)
    for node in range(count):
        way = distances[:, node, None] + distances[None, node]
        shorter = way < distances
        distances[shorter], between[shorter] = way[shorter], node
    nodes = np.full((count, count, steps), -1)
    for length in range(1, int(distances[distances < UNREACHABLE].max(initial=0)) + 1):
        start, end = np.nonzero(distances == length)
        middle = between[start, end]
        if length == 1:
            nodes[start, end, 0] = end
            continue
        first = distances[start, middle]
        for step in range(min(length, steps)):
            early = nodes[start, middle, step]
            late = nodes[middle, end, np.maximum(step - first, 0)]
            nodes[start, end, step] = np.where(step < first, early, late)
    return Paths(distances, nodes)
