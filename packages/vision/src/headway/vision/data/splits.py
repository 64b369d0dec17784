"""Splits that keep the share of every class."""

import numpy as np
from numpy.typing import NDArray


def stratified_split(
    labels: NDArray[np.integer], size: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the indices that stay and the ``size`` that leave, both ascending.

    Every class gives its share, rounded by the largest remainder; a class never gives its last item as
    long as there are others. The split depends on nothing but the labels and the seed.
    """
    labels = np.asarray(labels)
    classes, members = np.unique(labels, return_counts=True)
    share = members * (size / max(len(labels), 1))
    give = np.floor(share).astype(np.int64)
    # The last key counts first. Ties go to the class that comes first (lexsort is stable).
    last_item = members - give <= 1
    order = np.lexsort((-(share - give), last_item))
    give[order[: size - give.sum()]] += 1
    generator = np.random.Generator(np.random.PCG64([seed, len(labels)]))
    leave = []
    for label, count in zip(classes, give, strict=True):
        leave.append(generator.permutation(np.flatnonzero(labels == label))[:count])
    gone = np.sort(np.concatenate(leave)).astype(np.int64) if leave else np.empty(0, np.int64)
    stay = np.setdiff1d(np.arange(len(labels), dtype=np.int64), gone)
    return stay, gone
