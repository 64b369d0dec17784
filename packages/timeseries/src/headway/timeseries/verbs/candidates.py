"""What a panel's models are compared with: each continues all series from their ends."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.timeseries.data.panel import Panel
from headway.timeseries.verbs.least_squares import fit_nlinear

# Points (S, H), and quantiles (S, H, 9) at 0.1 to 0.9 from models that have their own.
Answer = tuple[NDArray[np.float64], NDArray[np.float64] | None]
Candidate = Callable[[Panel, int], Answer]


def filled(values: NDArray[Any]) -> NDArray[np.float64]:
    """Returns a series with the last known value in the place of missing ones; (T,)."""
    values = values.astype(float)
    known = ~np.isnan(values)
    if known.all():
        return values
    if not known.any():
        return np.zeros_like(values)
    place = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return values[np.where(place < 0, int(np.argmax(known)), place)]


def naive(panel: Panel, horizon: int) -> Answer:
    """Repeats the last known value."""
    last = [filled(panel.series(k))[-1] for k in range(len(panel.names))]
    return np.repeat(np.array(last)[:, None], horizon, axis=1), None


def seasonal_naive(period: int) -> Candidate:
    """Returns what repeats the last period."""

    def forecast(panel: Panel, horizon: int) -> Answer:
        found = []
        for place in range(len(panel.names)):
            values = panel.series(place).astype(float)
            season = values[-period:].copy()
            for back in range(2, len(values) // period + 1):
                earlier = values[len(values) - back * period : len(values) - (back - 1) * period]
                season = np.where(np.isnan(season), earlier, season)
            season = np.where(np.isnan(season), filled(values)[-1], season)
            found.append(np.resize(season, horizon))
        return np.stack(found), None

    return forecast


def nlinear(train: Panel, context_length: int, horizon: int) -> Candidate:
    """Returns one linear map for all series, fitted by least squares on their training parts."""
    longest = int(train.lengths.max())
    values = np.full((longest, len(train.names)), np.nan)
    for place, length in enumerate(train.lengths):
        values[longest - length :, place] = train.series(place)
    model = fit_nlinear(values, context_length=context_length, horizon=horizon)
    weight = model.head.weight.detach().double().numpy()
    bias = model.head.bias.detach().double().numpy()
    # The bias was fitted to series of deviation 1.
    deviation = np.nanstd(values, axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)

    def forecast(panel: Panel, steps: int) -> Answer:
        x = np.stack([filled(panel.series(k))[-context_length:] for k in range(len(panel.names))])
        last = x[:, -1:]
        ahead = (x - last) @ weight.T + bias * deviation[:, None]
        return (ahead + last)[:, :steps], None

    return forecast


def auto_ets(period: int, history: int = 500) -> Candidate:
    """Returns exponential smoothing chosen for each series anew, on its last ``history`` steps."""
    try:
        from statsforecast.models import AutoETS
    except ImportError:
        raise UserError(
            'AutoETS needs statsforecast; pip install "headway[backtest]", or leave autoets out'
        ) from None

    def forecast(panel: Panel, horizon: int) -> Answer:
        points, quantiles = [], []
        for place in range(len(panel.names)):
            values = filled(panel.series(place))[-history:]
            found = AutoETS(season_length=period).forecast(values, horizon, level=[20, 40, 60, 80])
            low = [found[f"lo-{level}"] for level in (80, 60, 40, 20)]
            high = [found[f"hi-{level}"] for level in (20, 40, 60, 80)]
            points.append(found["mean"])
            quantiles.append(np.stack([*low, found["mean"], *high], axis=-1))
        return np.stack(points), np.stack(quantiles)

    return forecast


def light_gbm(train: Panel, period: int, horizon: int, seed: int = 0) -> Candidate:
    """Returns gradient boosting over the last values of all series, the step ahead being a feature."""
    try:
        from lightgbm import LGBMRegressor
    except ImportError:
        raise UserError(
            'LightGBM needs lightgbm; pip install "headway[backtest]", or leave lightgbm out'
        ) from None
    lags = min(2 * period, int(train.lengths.min()) - horizon)
    random = np.random.default_rng(seed)
    inputs, outputs = [], []
    each = max(1, 4000 // len(train.names))
    for place in range(len(train.names)):
        values = filled(train.series(place))
        for end in random.integers(lags, len(values) - horizon + 1, each):
            window = values[end - lags : end]
            step = int(random.integers(horizon))
            inputs.append(_row(window, step, period))
            outputs.append((values[end + step] - window[-1]) / _width(window))
    model = LGBMRegressor(n_estimators=200, num_leaves=31, random_state=seed, n_jobs=1, verbose=-1)
    model.fit(np.stack(inputs), np.array(outputs))

    def forecast(panel: Panel, steps: int) -> Answer:
        windows = [filled(panel.series(k))[-lags:] for k in range(len(panel.names))]
        rows = np.stack([_row(w, step, period) for w in windows for step in range(steps)])
        ahead: Any = model.booster_.predict(rows)
        ahead = np.asarray(ahead).reshape(len(windows), steps)
        return np.array([w[-1] + _width(w) * a for w, a in zip(windows, ahead, strict=True)]), None

    return forecast


def _width(window: NDArray[np.float64]) -> float:
    return float(window.std()) or 1.0


def _row(window: NDArray[np.float64], step: int, period: int) -> NDArray[np.float64]:
    """Returns the features of one step: it, the same place of the last period, and the last values."""
    scaled = (window - window[-1]) / _width(window)
    place = len(window) - period + step % period
    same = scaled[place] if 0 <= place < len(window) else 0.0
    return np.array([step, same, *scaled])
