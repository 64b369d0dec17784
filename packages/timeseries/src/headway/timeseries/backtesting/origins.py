"""Where the forecasts of a backtest start."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.timeseries.data.borders import Borders
from headway.timeseries.data.panel import Panel
from headway.timeseries.data.protocol import FULL, counted_windows

STRETCHES = 5  # before the scored ones, whose errors become quantiles
MOST = 50  # origins of a validation part that are calibrated on


@dataclass(frozen=True, kw_only=True, eq=False)
class Origins:
    """How many steps of each series are known where a forecast starts.

    Args:
        scored: Of the forecasts that count, from early to late.
        calibration: Of those before them whose errors become quantiles.
        train: Steps that a model may learn from.
        stride: Steps between scored origins.
        every: Of the scored origins, how many lie between two whose errors become quantiles later.

    Shape:
        scored: (O, S). calibration: (K, S). train: (S,).
    """

    scored: NDArray[np.int64]
    calibration: NDArray[np.int64]
    train: NDArray[np.int64]
    stride: int
    every: int


def last_stretches(
    panel: Panel, horizon: int, windows: int, calibration: int = STRETCHES
) -> Origins:
    """Returns the origins of the last stretches of every series, one behind the other.

    Args:
        panel: The series.
        horizon: Steps of a stretch.
        windows: Stretches that are scored.
        calibration: Stretches before them.

    Raises:
        UserError: If a series is too short.
    """
    left_out = horizon * (windows + calibration)
    if (panel.lengths <= left_out).any():
        place = int(np.argmin(panel.lengths))
        raise UserError(
            f"{panel.name}, series {panel.names[place]} has {panel.lengths[place]} steps, the backtest "
            f"leaves out {left_out}; take fewer windows, a shorter horizon, or leave the series out"
        )
    back = horizon * np.arange(windows + calibration, 0, -1)[:, None]
    known = panel.lengths[None] - back
    return Origins(
        scored=known[calibration:],
        calibration=known[:calibration],
        train=known[0],
        stride=horizon,
        every=1,
    )


def across_test_part(
    panel: Panel, borders: Borders, horizon: int, *, stride: int = 1, protocol: str = FULL
) -> Origins:
    """Returns the origins of the test part of series that lie side by side.

    Args:
        panel: The series, all on the same stamps.
        borders: Of the file.
        horizon: Steps.
        stride: Steps between origins.
        protocol: Which origins count; see ``counted_windows``.

    Raises:
        UserError: If the test part is shorter than the horizon.
    """
    first, last = borders.val, borders.test - horizon
    if last < first:
        raise UserError(
            f"the test part has {borders.test - borders.val} rows, the horizon is {horizon}; give a "
            "longer file, a shorter horizon, or other borders"
        )
    scored = np.arange(first, last + 1, stride)
    scored = scored[: counted_windows(protocol, len(scored))]
    # What the validation part can know before the test part begins.
    latest = max(1, borders.val - horizon)
    earliest = min(max(1, borders.train), latest)
    series = len(panel.names)
    most = int(np.clip(2**26 // (series * horizon * 9), STRETCHES, MOST))
    gap = max(1, -(-(latest - earliest) // most))
    calibration = np.arange(latest, earliest - 1, -gap)[::-1]
    return Origins(
        scored=np.repeat(scored[:, None], series, axis=1),
        calibration=np.repeat(calibration[:, None], series, axis=1),
        train=np.full(series, borders.train),
        stride=stride,
        every=max(1, gap // stride),
    )
