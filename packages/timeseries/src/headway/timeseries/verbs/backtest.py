"""Compares models on the past of a file, wide or long, from many origins."""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headway.core.cli.job import Job
from headway.core.cli.options import add_plot, check_positive
from headway.core.errors import UserError
from headway.core.training.invalid import InvalidItems
from headway.timeseries.backtesting import candidates
from headway.timeseries.backtesting.candidates import Candidate
from headway.timeseries.backtesting.origins import (
    STRETCHES,
    Origins,
    across_test_part,
    last_stretches,
)
from headway.timeseries.backtesting.rolling import REFERENCE, Scores, backtest, verdict
from headway.timeseries.data.borders import find_borders, parse_borders
from headway.timeseries.data.panel import (
    Covariates,
    Panel,
    check_series,
    read_panel,
    side_by_side,
)
from headway.timeseries.data.protocol import FULL
from headway.timeseries.figures import backtest_figure
from headway.timeseries.prediction.panels import panel_covariates
from headway.timeseries.prediction.predictor import Predictor, load_predictor
from headway.timeseries.verbs.options import add_freq

SIMPLE = ("naive", "seasonal", "mean", "nlinear", "autoets", "lightgbm")
USUAL = ("naive", "seasonal", "mean", "nlinear")
MANY_CHECKPOINTS = True  # -m may be given several times
WINDOWS = 5  # stretches of series that do not lie side by side


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway backtest``."""
    parser.add_argument(
        "input", type=Path, metavar="FILE", help="CSV or parquet, wide or unique_id, ds, y"
    )
    add_freq(parser)
    parser.add_argument(
        "--horizon", type=int, nargs="+", help="steps (default: those of the models, or 24)"
    )
    parser.add_argument(
        "--context-length", type=int, default=96, help="steps that the simple models read (96)"
    )
    parser.add_argument("--period", type=int, default=24, help="of the seasonal naive model (24)")
    parser.add_argument(
        "--borders",
        default="0.7 0.1 0.2",
        help="of training, validation and test: ett_hour, ett_minute, or three shares",
    )
    parser.add_argument("--stride", type=int, default=1, help="steps between origins (1: all)")
    parser.add_argument(
        "--protocol",
        default=FULL,
        help="full: every test window counts; legacy-drop-last:32: as tables made with batches of 32",
    )
    parser.add_argument(
        "--windows",
        type=int,
        help="score the last stretches of each series instead of the test part of --borders; "
        f"{WINDOWS} where the series do not begin and end together",
    )
    parser.add_argument(
        "--simple",
        nargs="*",
        choices=SIMPLE,
        default=list(USUAL),
        help=f"simple models to compare with ({' '.join(USUAL)})",
    )
    add_plot(parser, "the errors")


def run(args: argparse.Namespace) -> int:
    """Prints one row per model and horizon, and says where a simple model wins."""
    check_positive(args, "context_length", "period", "stride", "windows", "horizon")
    job = Job(args, None, items="series", extra=["plot"])
    if not args.simple and not args.checkpoint:
        raise UserError("nothing to compare: give models with -m, or --simple naive")
    trained = [load_predictor(source, args.device) for source in args.checkpoint or []]
    horizons = sorted(set(args.horizon or [p.model.horizon for p in trained] or [24]))
    invalid = InvalidItems("raise" if args.on_invalid == "raise" else "skip", "series")
    panel = read_panel(
        args.input,
        covariates=_covariates(trained),
        invalid=invalid,
        freq=args.freq,
        usual=next((p.notes["step"] for p in trained if "step" in p.notes), None),
    )
    for predictor in trained:
        predictor.check_step(panel.name, panel.step)
    if args.windows is None and not side_by_side(panel):
        args.windows = WINDOWS
    if args.windows is not None and (args.protocol != FULL or args.stride != 1):
        raise UserError(
            "--protocol and --stride are for the test part of --borders; leave out --windows, and give "
            "series that begin and end together"
        )
    context = max([args.context_length, *(p.context_length for p in trained)])
    panel = _checked(panel, args, invalid, context, max(horizons))
    rows: list[Scores] = []
    for horizon in horizons:
        origins = _origins(panel, args, horizon)
        models = _models(panel, origins, trained, args, horizon)
        if len(models) == 1 and "seasonal" not in args.simple:
            continue  # no model but the reference, which nobody asked for
        found = backtest(panel, models, origins, horizon=horizon, period=args.period)
        rows += [r for r in found if r.model != REFERENCE or "seasonal" in args.simple]
    if not rows:
        raise UserError(
            f"no model forecasts {max(horizons)} steps; ask for a shorter --horizon, or add --simple naive"
        )
    found = [row.as_dict() for row in rows]
    if job.path is not None:
        job.table(list(found[0]), found)
    job.draw(_figure, rows)
    told = verdict(rows, [p.name for p in trained])
    lines = [*_table(rows), _legend(len(panel.names), len(invalid.errors), args.period), *told]
    skipped = [{"name": e.name, "reason": e.reason} for e in invalid.errors]
    facts = {"scores": found, "leads": _leads(rows), "verdict": told, "skipped": skipped}
    job.say("\n".join(lines), facts, aloud=True)
    return 0


def _covariates(trained: Sequence[Predictor]) -> Covariates:
    needed = [panel_covariates(predictor) for predictor in trained]
    if any(one != needed[0] for one in needed):
        raise UserError("the models read different covariates; compare them one by one")
    return needed[0] if needed else Covariates()


def _checked(
    panel: Panel, args: argparse.Namespace, invalid: InvalidItems, context: int, horizon: int
) -> Panel:
    """Returns the panel without series that cannot be used, if the policy allows."""
    if args.windows is None:
        shortest, why = context + horizon, f"context {context} + horizon {horizon}"
    else:
        stretches = args.windows + STRETCHES
        shortest = context + horizon * (stretches + 1)
        why = f"context {context} + horizon {horizon} before {stretches} stretches of {horizon}"
    panel = check_series(panel, invalid, shortest, why)
    invalid.log(len(panel.names) + len(invalid.errors))
    return panel


def _origins(panel: Panel, args: argparse.Namespace, horizon: int) -> Origins:
    if args.windows is not None:
        return last_stretches(panel, horizon, args.windows)
    borders = find_borders(int(panel.lengths[0]), parse_borders(args.borders))
    return across_test_part(panel, borders, horizon, stride=args.stride, protocol=args.protocol)


def _models(
    panel: Panel,
    origins: Origins,
    trained: Sequence[Predictor],
    args: argparse.Namespace,
    horizon: int,
) -> dict[str, Candidate]:
    """Returns what is compared over one horizon; the reference of skill is always there."""
    context, train, first = args.context_length, origins.train, int(origins.scored.min())
    able = []
    for predictor in trained:
        own = predictor.model.horizon
        if own < horizon:
            print(
                f"{predictor.name} forecasts {own} steps and is left out of horizon {horizon}",
                file=sys.stderr,
            )
            continue
        able.append(predictor)
    for name, reads in ((p.name, p.context_length) for p in able):
        if reads > first:
            raise UserError(
                f"{name} reads {reads} rows, but only {first} lie before the test part; give a longer file "
                "or other borders"
            )
    simple: dict[str, Any] = {}
    if "naive" in args.simple:
        simple["naive"] = candidates.naive(context, horizon)
    simple[REFERENCE] = candidates.seasonal_naive(context, horizon, args.period)
    if "nlinear" in args.simple:
        simple["NLinear"] = candidates.nlinear(panel, train, context, horizon)
    found = {p.name: p for p in able} | simple
    models = {name: candidates.of_model(one, panel, train) for name, one in found.items()}
    if "mean" in args.simple:
        models["mean"] = candidates.mean(panel)
    if "autoets" in args.simple:
        models["AutoETS"] = candidates.auto_ets(panel, args.period)
    if "lightgbm" in args.simple:
        models["LightGBM"] = candidates.light_gbm(
            panel, train, context_length=context, period=args.period, horizon=horizon
        )
    return models


def _known(interval: tuple[float, float]) -> list[float] | None:
    return None if any(map(math.isnan, interval)) else list(interval)


def _leads(rows: Sequence[Scores]) -> list[dict[str, Any]]:
    return [
        {"horizon": row.horizon, "model": row.model, "over": other, "interval": _known(interval)}
        for row in rows
        for other, interval in row.leads.items()
    ]


def _figure(rows: Sequence[Scores]) -> Any:
    errors: dict[str, dict[int, float]] = {}
    for row in rows:
        errors.setdefault(row.model, {})[row.horizon] = row.mase
    return backtest_figure(errors, "MASE")


def _table(rows: Sequence[Scores]) -> Iterator[str]:
    """Yields one line per model and horizon, below one of headings."""
    width = max(len(row.model) for row in rows)
    yield (
        f"{'model':<{width}}  horizon  windows     MSE     MAE  MASE (95 %)                CRPS     WQL  "
        "skill (95 %)               in 80 %"
    )
    for row in rows:
        mase, skill = (
            f"{value:7.4f} ({ends[0]:7.4f} to {ends[1]:7.4f})"
            for value, ends in ((row.mase, row.mase_interval), (row.skill, row.skill_interval))
        )
        yield (
            f"{row.model:<{width}}  {row.horizon:>7}  {row.windows:>7}  {row.mse:.4f}  {row.mae:.4f}  "
            f"{mase}  {row.crps:.4f}  {row.wql:.4f}  {skill}  {row.coverage:.3f}"
        )


def _legend(series: int, skipped: int, period: int) -> str:
    return (
        f"{series} series, {skipped} left out. MSE, MAE: of series scaled by the training part. "
        f"MASE, CRPS: error over that of repeating the last {period} steps in the training part. Skill: "
        f"against the {REFERENCE} forecast. 95 %: whole series and blocks of time resampled"
    )
