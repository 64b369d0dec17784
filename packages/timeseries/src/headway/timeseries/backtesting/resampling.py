"""How sure a mean over series and moments is: whole series and blocks of time are drawn anew."""

import math

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000


class BlockBootstrap:
    """Draws series and blocks of neighbouring origins, with replacement and apart from each other.

    Errors of one series resemble each other, and so do errors of neighbouring origins of all series: both
    have to stay together, or the interval is too narrow. Blocks wrap around the end, so that every origin
    is as likely as another.

    Args:
        origins: Their number.
        series: Their number.
        block: Origins of a block.
        seed: Of the draws.

    Source:
        Owen 2007, https://arxiv.org/abs/0712.1111, section 4 (rows and columns apart); Politis and Romano
        1992, "A circular block-resampling procedure for stationary data".
    """

    def __init__(self, origins: int, series: int, block: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        starts = random.integers(origins, size=(DRAWS, math.ceil(origins / block), 1))
        moments = ((starts + np.arange(block)) % origins).reshape(DRAWS, -1)[:, :origins]
        self.moments = _counted(moments, origins)
        self.series = _counted(random.integers(series, size=(DRAWS, series)), series)

    def means(self, sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the mean of every draw; NaN where nothing is known.

        Args:
            sums: Of what was measured, by origin and series.
            counts: Values that each is a sum of.

        Shape:
            sums, counts: (O, S). Output: (draws,).
        """
        total, number = (
            np.einsum("ro,os,rs->r", self.moments, part, self.series, optimize=True)
            for part in (sums, counts)
        )
        return np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)


def usual_block(origins: int, overlap: int) -> int:
    """Returns the length of a block: the cube root of the origins, and at least as many as share steps.

    Args:
        origins: Their number.
        overlap: Neighbouring origins whose forecasts share a step.

    Source:
        Hall, Horowitz and Jing 1995, https://doi.org/10.1093/biomet/82.3.561.
    """
    return min(max(math.ceil(origins ** (1 / 3)), overlap), max(1, origins // 3))


def ends(values: NDArray[np.float64]) -> tuple[float, float]:
    """Returns what 95 percent of the draws lie between."""
    if np.isnan(values).all():
        return math.nan, math.nan
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def _counted(drawn: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Returns how often each number was drawn; (draws, size)."""
    moved = drawn + size * np.arange(len(drawn))[:, None]
    return np.bincount(moved.ravel(), minlength=len(drawn) * size).reshape(-1, size).astype(float)
