"""How sure a score is over seeds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headway.core.errors import UserError

DRAWS = 2000


def interquartile_mean(scores: ArrayLike) -> float:
    """Returns the mean of the middle half, which single lucky or lost episodes do not move.

    A quarter of the scores is left out at either end; of a score that lies across the edge, its share.

    Source:
        Agarwal et al. 2021, https://arxiv.org/abs/2108.13264.
    """
    values = np.asarray(scores, dtype=np.float64).ravel()
    if not len(values):
        raise UserError("there are no scores to take the mean of")
    return float(_middle(values[None])[0])


def _middle(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the interquartile mean of each row."""
    number = rows.shape[1]
    # Each score is a stretch of length 1; the middle half goes from a quarter to three quarters.
    start, stop = number / 4, 3 * number / 4
    left = np.arange(number)
    inside = np.clip(np.minimum(left + 1, stop) - np.maximum(left, start), 0, None)
    return np.sort(rows, axis=1) @ inside / inside.sum()


def bootstrap_interval(
    runs: Sequence[Sequence[float]], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Returns the bounds of the interquartile mean over runs.

    Runs (seeds of training) are drawn with replacement, and of each run its episodes: with one run the bounds
    say what the episodes leave open, not what another seed would have brought.

    Args:
        runs: Scores of the episodes of each run.
        level: Share of the draws between the bounds.
        seed: Of the draws.

    Source:
        Agarwal et al. 2021, https://arxiv.org/abs/2108.13264 (stratified bootstrap).
    """
    if not 0 < level < 1:
        raise UserError(f"level is {level}; a share of the draws lies between 0 and 1")
    random = np.random.default_rng(seed)
    number = min(len(run) for run in runs)
    if not number:
        raise UserError("a run has no episodes")
    # Of each run as many episodes are drawn as the shortest has.
    values = np.stack([random.permutation(np.asarray(run, float))[:number] for run in runs])
    shape = (DRAWS, len(values), number)
    chosen = random.integers(len(values), size=shape[:2])[:, :, None]
    drawn = values[chosen, random.integers(number, size=shape)]
    low, high = np.quantile(_middle(drawn.reshape(DRAWS, -1)), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
