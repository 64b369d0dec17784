"""Models beside each other on the past of a panel: rolling origins, scores, and how sure they are."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.timeseries.backtesting.candidates import Candidate
from headway.timeseries.backtesting.origins import Origins
from headway.timeseries.backtesting.recalibration import Recalibration
from headway.timeseries.backtesting.resampling import BlockBootstrap, ends, usual_block
from headway.timeseries.data.panel import Panel
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.seasonal import seasonal_errors
from headway.timeseries.metrics import coverage, crps_from_quantiles
from headway.timeseries.models.probabilistic import LEVELS

REFERENCE = "seasonal naive"
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one model over all series and origins; intervals are pairs of ends, 95 percent.

    Args:
        model: Its name.
        horizon: Steps.
        windows: Origins.
        series: Series that MASE, CRPS and coverage are taken over: those that change from one period to
            the next.
        mse: Mean squared error of series scaled by the training part.
        mae: Mean absolute error of the same.
        mase: Absolute error over that of the seasonal naive forecast in the training part.
        mase_interval: Of it, whole series and blocks of time resampled.
        crps: Continuous ranked probability score over the same.
        crps_interval: Of it.
        skill: 1 minus MASE over that of the seasonal naive forecast here.
        skill_interval: Of it.
        wql: Weighted quantile loss: summed over summed absolute values.
        coverage: Share of values in the intervals of 80 percent.
        coverage_interval: Of it.
        seconds: Process CPU time of its forecasts, calibration included.
        leads: Name of each other model -> interval of its MASE minus that of this one, both over the same
            draws. Above 0 this one is surely better.
    """

    model: str
    horizon: int
    windows: int
    series: int
    mse: float
    mae: float
    mase: float
    mase_interval: tuple[float, float]
    crps: float
    crps_interval: tuple[float, float]
    skill: float
    skill_interval: tuple[float, float]
    wql: float
    coverage: float
    coverage_interval: tuple[float, float]
    seconds: float
    leads: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Returns the scores of this model alone as JSON values; what is no number is None."""
        found = asdict(self)
        del found["leads"]
        return {name: _json(value) for name, value in found.items()}


def backtest(
    panel: Panel,
    candidates: Mapping[str, Candidate],
    origins: Origins,
    *,
    horizon: int,
    period: int,
    block: int | None = None,
    seed: int = 0,
) -> list[Scores]:
    """Lets every model forecast from the same origins.

    The quantiles of every model are corrected by what it missed lately (``Recalibration``), so a model of
    points has some, too.

    Args:
        panel: The series.
        candidates: Name -> model; ``REFERENCE`` is what skill compares with.
        origins: Where forecasts start.
        horizon: Steps.
        period: Of the seasonal naive forecast that MASE compares with.
        block: Neighbouring origins that are resampled together; ``usual_block`` if None.
        seed: Of the resampling.

    Raises:
        UserError: If no series changes from one period to the next.
    """
    train = [panel.series(k)[:n].astype(float) for k, n in enumerate(origins.train)]
    size = np.array([seasonal_errors(part[:, None], period)[0] for part in train])
    if not (size > 0).any():
        raise UserError(
            f"no series of {panel.name} changes from one period of {period} steps to the next; give "
            "another --period, or longer series"
        )
    deviation = Scaler.of_parts(train, panel.names).std
    count = len(origins.scored)
    block = block or usual_block(count, -(-horizon // origins.stride))
    draws = BlockBootstrap(count, len(panel.names), block, seed)
    sums, spent = {}, {}
    for name, model in candidates.items():
        start = time.process_time()
        sums[name] = _Sums(panel, origins, horizon, size, deviation).of(model, name)
        spent[name] = time.process_time() - start
    means = {name: draws.means(found["error"], found["usable"]) for name, found in sums.items()}
    series = int((size > 0).sum())
    rows = []
    for name, found in sums.items():
        row = _scores(name, found, sums.get(REFERENCE), draws, horizon, series, spent[name])
        # The same draws for both: what makes all models worse at once does not count.
        leads = {other: ends(means[other] - means[name]) for other in sums if other != name}
        rows.append(replace(row, leads=leads))
    return rows


def verdict(rows: Sequence[Scores], trained: Sequence[str]) -> list[str]:
    """Says for each horizon which model has the least MASE, and whether that is sure.

    A model is best if the interval of the difference to every other one excludes 0 (``Scores.leads``), simple
    ones among them; otherwise those that cannot be told from it are named. A model without a number is
    never best.

    Args:
        rows: Of all models and horizons.
        trained: Names of the models that are no simple ones.
    """
    lines = []
    for horizon in sorted({row.horizon for row in rows}):
        here = sorted((r for r in rows if r.horizon == horizon), key=_rank)
        scored = [row for row in here if math.isfinite(row.mase)]
        without = [row.model for row in here if not math.isfinite(row.mase)]
        lost = f"; {', '.join(without)} gave no number" if without else ""
        if not scored:
            lines.append(f"horizon {horizon}: no model gave a number{lost}")
            continue
        best, line = scored[0], f"horizon {horizon}: "
        close = [row.model for row in scored[1:] if not best.leads.get(row.model, (0.0,))[0] > 0]
        said = f"{best.model} is best (MASE {best.mase:.4f})"
        if close:
            said = (
                f"{best.model} has the least MASE ({best.mase:.4f}), not distinguishable from "
                f"{', '.join(close)}"
            )
        line += said
        mine = [row for row in scored if row.model in trained]
        simple = next((row for row in scored if row.model not in trained), None)
        if mine and simple is best and mine[0].model not in close:
            line += f"; this simple model beats {mine[0].model} ({mine[0].mase:.4f})"
        for row in mine:
            if simple is not None and not row.leads.get(simple.model, (0.0,))[0] > 0:
                line += f"; {row.model} has no sure skill against {simple.model}"
        lines.append(line + lost)
    return lines


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rank(row: Scores) -> tuple[bool, float]:
    """Orders by MASE; what is no number comes last."""
    return not math.isfinite(row.mase), row.mase


def _scores(
    name: str,
    found: dict[str, Floats],
    base: dict[str, Floats] | None,
    draws: BlockBootstrap,
    horizon: int,
    series: int,
    seconds: float,
) -> Scores:
    def ratio(above: str, below: str) -> float:
        total = found[below].sum()
        return float(found[above].sum() / total) if total else math.nan

    mase, mase_all = ratio("error", "usable"), draws.means(found["error"], found["usable"])
    skill, skill_all = math.nan, np.full(1, math.nan)
    if base is not None:
        reference = base["error"].sum() / base["usable"].sum()
        reference_all = draws.means(base["error"], base["usable"])
        if reference > 0:
            skill, skill_all = 1 - mase / reference, 1 - mase_all / reference_all
    return Scores(
        model=name,
        horizon=horizon,
        windows=len(found["known"]),
        series=series,
        mse=ratio("squared", "known"),
        mae=ratio("absolute", "known"),
        mase=mase,
        mase_interval=ends(mase_all),
        crps=ratio("crps", "usable"),
        crps_interval=ends(draws.means(found["crps"], found["usable"])),
        skill=float(skill),
        skill_interval=ends(skill_all),
        wql=ratio("loss", "size"),
        coverage=ratio("inside", "usable"),
        coverage_interval=ends(draws.means(found["inside"], found["usable"])),
        seconds=seconds,
    )


class _Sums:
    """Sums of what one model misses, by origin and series."""

    def __init__(
        self, panel: Panel, origins: Origins, horizon: int, size: Floats, deviation: Floats
    ) -> None:
        self.panel, self.origins, self.horizon = panel, origins, horizon
        self.usable = size > 0
        self.size = np.where(self.usable, size, 1.0)
        self.deviation = deviation
        self.lately = Recalibration(len(origins.calibration), LEVELS)
        most = 2**24 // (len(panel.names) * horizon * len(LEVELS))
        self.chunk = int(np.clip(most, 1, 128))

    def of(self, model: Candidate, name: str) -> dict[str, Floats]:
        """Returns the sums, (O, S) each."""
        for part in self._chunks(self.origins.calibration):
            self._remember(part, *model(part, self.horizon))
        found: list[dict[str, Floats]] = []
        done = 0
        for part in with_progress(
            self._chunks(self.origins.scored), f"{name}, {self.horizon} steps"
        ):
            points, quantiles = model(part, self.horizon)
            turns = (np.arange(len(part)) + done) % self.origins.every == 0
            spread = None if quantiles is None else quantiles[turns]
            self._remember(part[turns], points[turns], spread)
            done += len(part)
            given = points[..., None] if quantiles is None else quantiles
            states = [self.lately.state(known) for known in part]
            for state in dict.fromkeys(states):
                here = np.array([one == state for one in states])
                found.append(self._missed(part[here], points[here], given[here], state))
        return {key: np.concatenate([one[key] for one in found]) for key in found[0]}

    def _chunks(self, known: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [known[k : k + self.chunk] for k in range(0, len(known), self.chunk)]

    def _truth(self, known: NDArray[np.int64]) -> Floats:
        rows = (self.panel.offsets[:-1] + known)[..., None] + np.arange(self.horizon)
        return self.panel.values[rows].astype(float)

    def _remember(self, known: NDArray[np.int64], points: Floats, quantiles: Floats | None) -> None:
        said = points[..., None] if quantiles is None else quantiles
        errors = (self._truth(known)[..., None] - said) / self.size[:, None, None]
        for one, error in zip(known, errors, strict=True):
            self.lately.add(one + self.horizon, error)

    def _missed(
        self, known: NDArray[np.int64], points: Floats, given: Floats, state: tuple[int, int]
    ) -> dict[str, Floats]:
        truth = self._truth(known)
        there = ~np.isnan(truth)
        y = np.nan_to_num(truth)
        spread = given + self.size[:, None, None] * self.lately.offsets(state)
        if given.shape[-1] > 1:
            spread = np.sort(spread, axis=-1)  # corrected one by one, neighbours may cross
        certain = torch.from_numpy(y), torch.from_numpy(spread)
        crps = crps_from_quantiles(*certain, LEVELS).numpy()
        inside = coverage(certain[0], certain[1][..., 0], certain[1][..., -1]).numpy()
        error = np.abs(points - y)
        counted = there & self.usable[:, None]
        return {
            name: np.where(where, values, 0.0).sum(axis=2)
            for name, values, where in (
                ("known", np.ones_like(y), there),
                ("usable", np.ones_like(y), counted),
                ("squared", (error / self.deviation[:, None]) ** 2, there),
                ("absolute", error / self.deviation[:, None], there),
                ("error", error / self.size[:, None], counted),
                ("crps", crps / self.size[:, None], counted),
                ("inside", inside, counted),
                ("loss", crps, there),
                ("size", np.abs(y), there),
            )
        }
