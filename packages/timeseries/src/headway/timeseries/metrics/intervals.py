"""Scores of intervals."""

from torch import Tensor


def interval_levels(percent: float) -> tuple[float, float]:
    """Returns the two quantile levels of a central interval: 80 (percent) gives 0.1 and 0.9."""
    lower = round((1 - percent / 100) / 2, 6)
    return lower, round(1 - lower, 6)


def coverage(y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Returns 1 where a value lies in its interval, ends included, else 0; its mean is the coverage.

    Shape:
        All: (...). Output: (...), of the type of ``y``.
    """
    return ((y >= lower) & (y <= upper)).to(y.dtype)
