"""Models beside each other on the past of a panel: rolling origins, scores, and how sure they are."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.timeseries.data.forecasting import seasonal_errors
from headway.timeseries.data.panel import Panel
from headway.timeseries.metrics import coverage, crps_from_quantiles
from headway.timeseries.models.probabilistic import LEVELS
from headway.timeseries.verbs.candidates import Candidate
from headway.timeseries.verbs.loading import Predictor
from headway.timeseries.verbs.panels import answers

REFERENCE = "seasonal naive"
CALIBRATION = 5  # stretches whose errors become quantiles


@dataclass(frozen=True, kw_only=True)
class PanelScores:
    """Scores of one model over all series and origins; intervals are pairs of ends, 95 percent.

    Args:
        model: Its name.
        windows: Forecasts that were scored.
        mase: Absolute error over that of the seasonal naive forecast in the training part.
        mase_interval: Of it, by resampling whole series.
        crps: Continuous ranked probability score over the same.
        crps_interval: Of it.
        skill: 1 minus MASE over that of the seasonal naive forecast here.
        skill_interval: Of it.
        wql: Weighted quantile loss: summed over summed absolute values.
        coverage: Share of values in the intervals of 80 percent.
        seconds: Process CPU time of its forecasts, calibration included.
    """

    model: str
    windows: int
    mase: float
    mase_interval: tuple[float, float]
    crps: float
    crps_interval: tuple[float, float]
    skill: float
    skill_interval: tuple[float, float]
    wql: float
    coverage: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return asdict(self)


def cut(panel: Panel, steps: int) -> Panel:
    """Returns the panel without the last steps of every series."""
    if steps == 0:
        return panel
    if (panel.lengths <= steps).any():
        place = int(np.argmin(panel.lengths))
        raise UserError(
            f"{panel.name}, series {panel.names[place]} has {panel.lengths[place]} steps, the backtest "
            f"leaves out {steps}; take fewer windows, a shorter horizon, or leave the series out"
        )
    rows = np.concatenate(
        [np.arange(a, b - steps) for a, b in zip(panel.offsets, panel.offsets[1:], strict=False)]
    )
    return Panel(
        name=panel.name,
        columns=panel.columns,
        clock=panel.clock,
        step=panel.step,
        names=panel.names,
        first=panel.first,
        offsets=panel.offsets - steps * np.arange(len(panel.offsets)),
        values=panel.values[rows],
        covariates=panel.covariates,
        historical=panel.historical[rows],
        future=panel.future[rows],
        static=panel.static,
    )


def checkpoint(predictor: Predictor, whole: Panel) -> Candidate:
    """Returns a trained model as a candidate; future covariates are taken from the whole panel.

    Args:
        predictor: Trained on a panel, for at least the horizon.
        whole: With the future of what is forecast.
    """

    def forecast(panel: Panel, horizon: int) -> Any:
        own = predictor.model.horizon
        if horizon > own:
            raise UserError(
                f"{predictor.name} forecasts {own} steps, the backtest asks for {horizon}"
            )
        steps = np.arange(own)
        ends = whole.offsets[:-1] + panel.lengths
        rows = np.minimum(ends[:, None] + steps, whole.offsets[1:, None] - 1)
        places = range(len(panel.names))
        calibrated = "conformal" in predictor.notes
        levels = LEVELS if calibrated or not _is_point(predictor) else ()
        points, quantiles = answers(
            predictor, panel, places, whole.future[rows].astype(float), levels
        )
        return points[:, :horizon], quantiles[:, :horizon] if levels else None

    return forecast


def _is_point(predictor: Predictor) -> bool:
    from headway.timeseries.models import StudentTForecaster

    return predictor.model.quantiles is None and not isinstance(predictor.model, StudentTForecaster)


def backtest_panel(
    panel: Panel,
    candidates: Mapping[str, Candidate],
    *,
    horizon: int,
    windows: int,
    period: int,
    calibration: int = CALIBRATION,
    seed: int = 0,
) -> list[PanelScores]:
    """Lets every model forecast the last ``windows`` stretches of every series.

    A model without quantiles gets those of its own errors in the ``calibration`` stretches before, by step
    ahead, of all series together, each scaled by its seasonal naive error.

    Args:
        panel: The series.
        candidates: Name -> model; they may learn from ``training_part`` alone.
        horizon: Steps of a stretch.
        windows: Stretches that are scored.
        period: Of the seasonal naive forecast.
        calibration: Stretches before them.
        seed: Of the resampling.
    """
    train = training_part(panel, horizon, windows, calibration)
    size = np.array(
        [
            seasonal_errors(train.series(k)[:, None].astype(float), period)[0]
            for k in range(len(train.names))
        ]
    )
    usable = size > 0
    if not usable.any():
        raise UserError(
            f"no series of {panel.name} changes from one period of {period} steps to the next"
        )
    scored: dict[str, dict[str, NDArray[np.float64]]] = {}
    spent = {}
    for name, model in candidates.items():
        start = time.process_time()
        scored[name] = _score(panel, model, horizon, windows, calibration, size, usable)
        spent[name] = time.process_time() - start
    draws = _draws(int(usable.sum()), seed)
    base = scored.get(REFERENCE)
    rows = []
    for name, found in scored.items():
        mase, mase_all = _mean(found["absolute"], found["count"], draws)
        crps, crps_all = _mean(found["crps"], found["count"], draws)
        skill, skill_all = np.nan, np.full(len(draws), np.nan)
        if base is not None:
            reference, reference_all = _mean(base["absolute"], base["count"], draws)
            skill, skill_all = 1 - mase / reference, 1 - mase_all / reference_all
        rows.append(
            PanelScores(
                model=name,
                windows=windows * int(usable.sum()),
                mase=mase,
                mase_interval=_ends(mase_all),
                crps=crps,
                crps_interval=_ends(crps_all),
                skill=float(skill),
                skill_interval=_ends(skill_all),
                wql=float(found["loss"].sum() / found["size"].sum()),
                coverage=float(found["inside"].sum() / found["count"].sum()),
                seconds=spent[name],
            )
        )
    return rows


def training_part(
    panel: Panel, horizon: int, windows: int, calibration: int = CALIBRATION
) -> Panel:
    """Returns what lies before all stretches that are calibrated on or scored."""
    return cut(panel, horizon * (windows + calibration))


def verdict(rows: list[PanelScores], trained: list[str]) -> str:
    """Says which model has the least MASE, plainly where it is a simple one."""
    ordered = sorted(rows, key=lambda row: row.mase)
    best = ordered[0]
    line = f"{best.model} is best (MASE {best.mase:.4f})"
    mine = [row for row in ordered if row.model in trained]
    if mine and best.model not in trained:
        line += f"; this simple model beats {mine[0].model} ({mine[0].mase:.4f})"
    for row in mine:
        if not row.skill_interval[0] > 0:
            line += f"; {row.model} has no sure skill against {REFERENCE}"
    return line


def _score(
    panel: Panel,
    model: Candidate,
    horizon: int,
    windows: int,
    calibration: int,
    size: NDArray[np.float64],
    usable: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """Returns sums over the windows of each usable series, (S,) each."""
    offsets = None
    sums = {
        key: np.zeros(int(usable.sum()))
        for key in ("absolute", "crps", "count", "inside", "loss", "size")
    }
    width = size[usable, None]
    for back in range(windows, 0, -1):
        point, quantiles = model(cut(panel, back * horizon), horizon)
        if quantiles is None:
            if offsets is None:
                offsets = _offsets(panel, model, horizon, windows, calibration, size, usable)
            quantiles = point[..., None] + size[:, None, None] * offsets
        truth = _truth(panel, back, horizon)[usable]
        point, quantiles = point[usable], quantiles[usable]
        known = ~np.isnan(truth)
        y, spread = (
            torch.from_numpy(np.nan_to_num(truth)),
            torch.from_numpy(quantiles.astype(float)),
        )
        crps = crps_from_quantiles(y, spread, LEVELS).numpy()
        inside = coverage(y, spread[..., 0], spread[..., -1]).numpy()
        for key, values in (
            ("absolute", np.abs(point - y.numpy()) / width),
            ("crps", crps / width),
            ("count", np.ones_like(truth)),
            ("inside", inside),
            ("loss", crps),
            ("size", np.abs(y.numpy())),
        ):
            sums[key] += np.where(known, values, 0.0).sum(axis=1)
    return sums


def _truth(panel: Panel, back: int, horizon: int) -> NDArray[np.float64]:
    rows = panel.offsets[1:, None] - back * horizon + np.arange(horizon)
    return panel.values[rows].astype(float)


def _offsets(
    panel: Panel,
    model: Candidate,
    horizon: int,
    windows: int,
    calibration: int,
    size: NDArray[np.float64],
    usable: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Returns quantiles of scaled errors before the test, (H, LEVELS)."""
    errors = []
    for back in range(windows + calibration, windows, -1):
        point, _ = model(cut(panel, back * horizon), horizon)
        errors.append(
            ((_truth(panel, back, horizon) - point) / np.where(usable, size, 1)[:, None])[usable]
        )
    return np.nanquantile(np.concatenate(errors), LEVELS, axis=0).T


def _draws(blocks: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(blocks, size=(1000, blocks))


def _mean(
    sums: NDArray[np.float64], counts: NDArray[np.float64], draws: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    """Returns the mean, and that of every resampling of whole series."""
    return float(sums.sum() / counts.sum()), sums[draws].sum(axis=1) / counts[draws].sum(axis=1)


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
