"""What a backtest compares: each continues all series of a panel from any origins."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.timeseries.backtesting.least_squares import fit_nlinear
from headway.timeseries.data.panel import Panel
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.models import Naive, SeasonalNaive, StudentTForecaster
from headway.timeseries.models.probabilistic import LEVELS
from headway.timeseries.prediction.contexts import Contexts
from headway.timeseries.prediction.predictor import Predictor, as_predictor

Floats = NDArray[np.float64]
# Points (O, S, H), and quantiles (O, S, H, 9) at 0.1 to 0.9 from models that have their own.
Answer = tuple[Floats, Floats | None]
# Known steps of each series at some origins (O, S), and a horizon.
Candidate = Callable[[NDArray[np.int64], int], Answer]


def of_model(predictor: Predictor, panel: Panel, train: NDArray[np.int64]) -> Candidate:
    """Returns a forecaster as a candidate.

    Args:
        predictor: For at least the horizon that it will be asked.
        panel: The series, with future covariates to the end.
        train: Steps of each series that statistics may come from.
    """
    contexts = Contexts(predictor, panel, train)
    spread = predictor.model.quantiles is not None or isinstance(
        predictor.model, StudentTForecaster
    )

    def forecast(known: NDArray[np.int64], horizon: int) -> Answer:
        own = predictor.model.horizon
        if horizon > own:
            raise UserError(
                f"{predictor.name} forecasts {own} steps, the backtest asks for {horizon}"
            )
        points, quantiles = contexts.answers(known, LEVELS if spread else ())
        return points[..., :horizon], None if quantiles is None else quantiles[:, :, :horizon]

    return forecast


def naive(context_length: int, horizon: int) -> Predictor:
    """Returns what repeats the last known value."""
    model = Naive(context_length=context_length, horizon=horizon)
    return as_predictor(model, {"panel": True}, "cpu", name="naive")


def seasonal_naive(context_length: int, horizon: int, period: int) -> Predictor:
    """Returns what repeats the last period."""
    model = SeasonalNaive(
        period=period, context_length=max(context_length, period), horizon=horizon
    )
    return as_predictor(model, {"panel": True}, "cpu", name="seasonal naive")


def mean(panel: Panel) -> Candidate:
    """Returns what repeats the mean of all known values of each series, as nothing beats it on noise.

    Args:
        panel: The series.
    """
    totals, counts, first = [], [], []
    for place in range(len(panel.names)):
        values = panel.series(place)
        known = ~np.isnan(values)
        # Sums of what lies above the first value: large values would eat up what they change by.
        first.append(values[known][0] if known.any() else 0.0)
        above = np.where(known, values - first[-1], 0.0)
        totals.append(np.concatenate([[0.0], above.cumsum()]))
        counts.append(np.concatenate([[0], known.cumsum()]))

    def forecast(known: NDArray[np.int64], horizon: int) -> Answer:
        points = np.empty(known.shape)
        for place, ends in enumerate(known.T):
            count = np.maximum(counts[place][ends], 1)
            points[:, place] = first[place] + totals[place][ends] / count
        return np.repeat(points[..., None], horizon, axis=2), None

    return forecast


def nlinear(panel: Panel, train: NDArray[np.int64], context_length: int, horizon: int) -> Predictor:
    """Returns one linear map for all series, fitted by least squares on their training parts."""
    parts = [panel.series(k)[:n].astype(float) for k, n in enumerate(train)]
    scaler = Scaler.of_parts(parts, panel.names)
    model = fit_nlinear(parts, scaler, context_length=context_length, horizon=horizon)
    return as_predictor(model, {"panel": True, **scaler.as_dict()}, "cpu", name="NLinear")


def auto_ets(
    panel: Panel, period: int, *, history: int = 500, forms: str = "ZZZ", refit: int = 7
) -> Candidate:
    """Returns exponential smoothing, its form and parameters chosen for each series.

    Args:
        panel: The series.
        period: Steps of a season.
        history: Last steps that it reads.
        forms: Of error, trend and season, ``Z`` for any, as statsforecast writes them.
        refit: Periods after which form and parameters are chosen anew; in between the states alone move.

    Raises:
        UserError: If statsforecast is not installed.
    """
    try:
        from statsforecast.models import AutoETS
    except ImportError:
        raise UserError(
            'AutoETS needs statsforecast; pip install "headway[backtest]", or leave autoets out'
        ) from None
    percents = [20, 40, 60, 80]
    chosen: dict[int, tuple[int, Any]] = {}

    def one(place: int, known: int, horizon: int) -> tuple[Floats, Floats]:
        start = max(0, known - history)
        values = filled(panel.series(place)[start:known][None].astype(float))[0]
        if (values == values[0]).all():
            # Its likelihood is infinite.
            point = np.full(horizon, values[0])
            return point, np.repeat(point[:, None], len(LEVELS), axis=1)
        since, model = chosen.get(place, (0, None))
        if model is None or not 0 <= known - since < refit * period:
            model = AutoETS(season_length=period, model=forms).fit(values)
            chosen[place] = known, model
            found = model.predict(horizon, level=percents)
        else:
            found = model.forward(values, horizon, level=percents)
        low = [found[f"lo-{percent}"] for percent in reversed(percents)]
        high = [found[f"hi-{percent}"] for percent in percents]
        return found["mean"], np.stack([*low, found["mean"], *high], axis=-1)

    def forecast(known: NDArray[np.int64], horizon: int) -> Answer:
        each = [[one(k, int(n), horizon) for k, n in enumerate(row)] for row in known]
        points = np.array([[point for point, _ in row] for row in each])
        return points, np.array([[spread for _, spread in row] for row in each])

    return forecast


def light_gbm(
    panel: Panel,
    train: NDArray[np.int64],
    *,
    context_length: int,
    period: int,
    horizon: int,
    rows: int = 100_000,
    seed: int = 0,
) -> Candidate:
    """Returns gradient boosting over the last values of all series, the step ahead being a feature.

    Args:
        panel: The series.
        train: Steps of each series that it learns from.
        context_length: Last values that it reads.
        period: Steps of a season; the value of the same place in the last one is a feature.
        horizon: Steps.
        rows: Drawn from the training parts.
        seed: Of the draws.

    Raises:
        UserError: If lightgbm is not installed, or no training part holds a window.
    """
    try:
        from lightgbm import LGBMRegressor
    except ImportError:
        raise UserError(
            'LightGBM needs lightgbm; pip install "headway[backtest]", or leave lightgbm out'
        ) from None
    lags = max(context_length, period)
    able = np.flatnonzero(train >= lags + horizon)
    if not len(able):
        raise UserError(
            f"no training part has the {lags + horizon} steps of context {lags} + horizon {horizon} that "
            "LightGBM learns from; give longer series, fewer windows, or leave lightgbm out"
        )
    random = np.random.default_rng(seed)
    inputs, outputs = [], []
    each = max(1, rows // len(able))
    for place in able.tolist():
        values = panel.series(place)[: train[place]].astype(float)
        windows = sliding_window_view(values, lags + horizon)
        number = min(each, len(windows) * horizon)
        drawn = windows[random.integers(len(windows), size=number)]
        step = random.integers(horizon, size=number)
        truth = drawn[np.arange(number), lags + step]
        there = ~np.isnan(truth) & ~np.isnan(drawn[:, :lags]).all(axis=1)
        window = filled(drawn[there, :lags])
        inputs.append(_features(window, step[there], period))
        outputs.append((truth[there] - window[:, -1]) / _width(window))
    model = LGBMRegressor(n_estimators=200, num_leaves=31, random_state=seed, n_jobs=1, verbose=-1)
    model.fit(np.concatenate(inputs), np.concatenate(outputs))

    def forecast(known: NDArray[np.int64], steps: int) -> Answer:
        series = np.arange(known.shape[1])
        points = []
        for row in known:
            back = row[:, None] + np.arange(-lags, 0)
            found = panel.values[panel.offsets[series, None] + np.maximum(back, 0)].astype(float)
            window = filled(np.where(back < 0, np.nan, found))
            many = np.repeat(window, steps, axis=0)
            ahead: Any = model.booster_.predict(
                _features(many, np.tile(np.arange(steps), len(series)), period)
            )
            points.append(window[:, -1:] + _width(window)[:, None] * np.reshape(ahead, (-1, steps)))
        return np.stack(points), None

    return forecast


def filled(windows: Floats) -> Floats:
    """Returns windows with the last known value in the place of missing ones; 0 where nothing is known.

    Before the first known value stands the first one.

    Shape:
        windows: (P, L). Output: the same.
    """
    known = ~np.isnan(windows)
    if known.all():
        return windows
    place = np.maximum.accumulate(np.where(known, np.arange(windows.shape[1]), -1), axis=1)
    place = np.where(place < 0, known.argmax(axis=1)[:, None], place)
    return np.nan_to_num(np.take_along_axis(windows, place, axis=1))


def _width(windows: Floats) -> Floats:
    width = windows.std(axis=1)
    return np.where(width > 0, width, 1.0)


def _features(windows: Floats, step: NDArray[np.int64], period: int) -> NDArray[np.float32]:
    """Returns a row for each window: step, the same place of the last period, and the last values."""
    scaled = (windows - windows[:, -1:]) / _width(windows)[:, None]
    place = windows.shape[1] - period + step % period
    same = scaled[np.arange(len(windows)), place]
    return np.concatenate([step[:, None], same[:, None], scaled], axis=1).astype(np.float32)
