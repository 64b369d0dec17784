"""The tree of a molecule: neighbours that are alike are joined first."""

from collections.abc import Sequence
from typing import NamedTuple

LEVELS = 8
"""Rounds of joining that are kept; each at least halves what may still be joined, so 8 do for 256 atoms."""


class Edge(NamedTuple):
    """Two neighbours, and how much alike they are."""

    start: int
    end: int
    affinity: float


def affinity_levels(ranks: Sequence[int], edges: Sequence[Edge]) -> list[list[int]]:
    """Returns the cluster of each node after 1, 2, ... ``LEVELS`` rounds of affinity clustering.

    In each round every cluster is joined with the neighbour that it is most alike to: the rounds of Boruvka's
    algorithm for spanning trees. A cluster is named by the least rank in it.

    Args:
        ranks: The rank of each node, which decides between equals: no two are the same.
        edges: The edges.

    Source:
        Bateni et al. 2017, Affinity Clustering: Hierarchical Clustering at Scale, section 3.
    """
    cluster = list(ranks)
    # One order of the edges, so that no two clusters ever choose in a circle.
    ordered = sorted(edges, key=lambda e: (-e.affinity, *sorted((ranks[e.start], ranks[e.end]))))
    levels: list[list[int]] = []
    for _ in range(LEVELS):
        best: dict[int, tuple[int, int]] = {}
        for edge in ordered:
            pair = cluster[edge.start], cluster[edge.end]
            if pair[0] != pair[1]:
                for one in pair:
                    best.setdefault(one, pair)
        cluster = _joined(cluster, list(best.values()))
        levels.append(cluster)
    return levels


def tree_order(ranks: Sequence[int], levels: Sequence[Sequence[int]]) -> list[int]:
    """Returns the nodes as a walk over the tree meets them: what was joined early stands side by side.

    Args:
        ranks: The rank of each node.
        levels: The cluster of each node after each round.
    """
    return sorted(
        range(len(ranks)), key=lambda node: (*(level[node] for level in levels[::-1]), ranks[node])
    )


def _joined(cluster: list[int], pairs: list[tuple[int, int]]) -> list[int]:
    """Clusters that pairs connect become one, named by the least of them."""
    leader = {one: one for one in cluster}

    def find(one: int) -> int:
        while leader[one] != one:
            one = leader[one]
        return one

    for pair in pairs:
        least, other = sorted(map(find, pair))
        leader[other] = least
    return [find(one) for one in cluster]
