"""Regular time: the stamps that follow, and calendar marks."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FIRST_ROW = 2  # line of the first stamp in a file with a header
_DAY = 86400


def moments(stamps: pd.Index) -> NDArray[Any]:
    """Returns stamps as numbers or as moments of one time zone, whose differences are true ones."""
    if isinstance(stamps, pd.DatetimeIndex) and stamps.tz is not None:
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    return stamps.to_numpy()


def following(stamps: pd.Index, step: Any, number: int) -> pd.Index:
    """Returns the next ``number`` stamps."""
    if isinstance(stamps, pd.DatetimeIndex):
        return pd.date_range(stamps[-1], periods=number + 1, freq=step)[1:]
    return pd.Index(stamps[-1] + step * np.arange(1, number + 1))


def calendar_marks(stamps: pd.Index) -> NDArray[np.float32]:
    """Returns where each stamp lies in its hour, day, week, month and year, from -0.5 to 0.5.

    Which marks there are depends on the step: hours have hour of day, day of week, of month and of
    year. Stamps that are numbers have none.

    Shape:
        Output: (T, M).

    Source:
        The time features of the Informer, https://arxiv.org/abs/2012.07436, appendix B.
    """
    if not isinstance(stamps, pd.DatetimeIndex) or len(stamps) < 2:
        return np.zeros((len(stamps), 0), dtype=np.float32)
    seconds = float(np.median(np.diff(moments(stamps)) / np.timedelta64(1, "s")))
    week = stamps.isocalendar().week.to_numpy(dtype=float)
    marks = {
        "second": (stamps.second / 59, seconds < 60),
        "minute": (stamps.minute / 59, seconds < 3600),
        "hour": (stamps.hour / 23, seconds < _DAY),
        "weekday": (stamps.day_of_week / 6, seconds < 7 * _DAY),
        "day": ((stamps.day - 1) / 30, seconds < 28 * _DAY),
        "dayofyear": ((stamps.day_of_year - 1) / 365, seconds < 7 * _DAY),
        "week": ((week - 1) / 52, 7 * _DAY <= seconds < 28 * _DAY),
        "month": ((stamps.month - 1) / 11, 28 * _DAY <= seconds < 360 * _DAY),
    }
    used = [np.asarray(values, dtype=float) - 0.5 for values, wanted in marks.values() if wanted]
    if not used:
        return np.zeros((len(stamps), 0), dtype=np.float32)
    return np.stack(used, axis=1).astype(np.float32)
