"""Errors of the simplest forecast, by which others are measured."""

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError


def seasonal_errors(train: NDArray[np.float64], period: int) -> NDArray[np.float64]:
    """Returns the mean absolute error of repeating the last period, of each series; 0 if it is too short.

    Shape:
        train: (T, N), NaN where missing. Output: (N,).

    Raises:
        UserError: If the period is below 1.
    """
    if period < 1:
        raise UserError(f"period {period} is below 1 step; 24 is a day of hours")
    if len(train) <= period:
        return np.zeros(train.shape[1])
    error = np.abs(train[period:] - train[:-period])
    count = np.maximum((~np.isnan(error)).sum(axis=0), 1)
    return np.nansum(error, axis=0) / count
