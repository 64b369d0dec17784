"""Compares models on the past of a file, from every moment of its test part."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headway.core.cli.counts import check_positive
from headway.core.errors import UserError
from headway.core.files import atomic_write, save_figure
from headway.timeseries.data.borders import find_borders
from headway.timeseries.data.forecasting import parse_borders
from headway.timeseries.data.protocol import FULL
from headway.timeseries.data.table import SeriesTable, read_table
from headway.timeseries.models import Naive, SeasonalNaive
from headway.timeseries.pictures import backtest_figure
from headway.timeseries.verbs.least_squares import fit_nlinear
from headway.timeseries.verbs.loading import Predictor, as_predictor, load_predictor
from headway.timeseries.verbs.panel_report import SIMPLE as OF_PANELS
from headway.timeseries.verbs.panel_report import run_panel
from headway.timeseries.verbs.rolling import Scores, rolling_origin

SIMPLE = ("naive", "seasonal", "nlinear")
MANY_CHECKPOINTS = True  # -m may be given several times
COLUMNS = ("model", "horizon", "windows", "mse", "mae", "mase")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway backtest``."""
    parser.add_argument("input", type=Path, metavar="FILE", help="CSV, wide or unique_id, ds, y")
    parser.add_argument(
        "--horizon", type=int, nargs="+", help="steps (default: those of the models, or 24)"
    )
    parser.add_argument(
        "--context-length", type=int, default=96, help="steps that the simple models read (96)"
    )
    parser.add_argument("--period", type=int, default=24, help="of the seasonal naive model (24)")
    parser.add_argument(
        "--borders", default="0.7 0.1 0.2", help="ett_hour, ett_minute, or three shares"
    )
    parser.add_argument("--stride", type=int, default=1, help="steps between origins (1: all)")
    parser.add_argument(
        "--protocol",
        default=FULL,
        help="full: every test window counts; legacy-drop-last:32: as tables made with batches of 32",
    )
    parser.add_argument(
        "--simple",
        nargs="*",
        choices=OF_PANELS,
        default=list(SIMPLE),
        help=f"simple models to compare with ({' '.join(SIMPLE)}); with --panel also autoets, lightgbm",
    )
    parser.add_argument(
        "--panel",
        action="store_true",
        help="a long file whose series differ in length, each by itself; scores with intervals",
    )
    parser.add_argument(
        "--windows", type=int, default=5, help="with --panel: last stretches of each series (5)"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the errors here")


def run(args: argparse.Namespace) -> int:
    """Prints one row per model and horizon, and says where a simple model wins."""
    check_positive(args, "context_length", "period", "stride", "windows")
    if args.plot is not None and args.plot.exists() and not args.overwrite:
        raise UserError(f"{args.plot} exists; choose another place, or add --overwrite")
    if args.panel:
        return run_panel(args)
    for name in args.simple:
        if name not in SIMPLE:
            raise UserError(f"--simple {name} is for panels; add --panel and give a long file")
    trained = [load_predictor(source, args.device) for source in args.checkpoint or []]
    horizons = sorted(set(args.horizon or [p.model.horizon for p in trained] or [24]))
    if min(horizons) < 1:
        raise UserError(f"--horizon {min(horizons)} is below 1")
    table = read_table(args.input)
    rows: list[Scores] = []
    for horizon in horizons:
        able = [p for p in trained if p.model.horizon >= horizon]
        for predictor in (p for p in trained if p.model.horizon < horizon):
            print(
                f"{predictor.name} forecasts {predictor.model.horizon} steps and is left out of "
                f"horizon {horizon}",
                file=sys.stderr,
            )
        borders = find_borders(len(table.values), parse_borders(args.borders))
        simple = simple_models(args, table, borders.train, horizon)
        rows += rolling_origin(
            [*able, *simple],
            table,
            borders,
            horizon=horizon,
            period=args.period,
            stride=args.stride,
            protocol=args.protocol,
        )
    if not rows:
        raise UserError("nothing to compare: give models with -m, or --simple naive")
    _report(rows, args)
    return 0


def simple_models(
    args: argparse.Namespace, table: SeriesTable, train: int, horizon: int
) -> list[Predictor]:
    """Returns the simple models that were asked for; NLinear is fitted on the training part."""
    sizes = {"context_length": args.context_length, "horizon": horizon}
    made: dict[str, Any] = {}
    if "naive" in args.simple:
        made["naive"] = Naive(**sizes)
    if "seasonal" in args.simple:
        made["seasonal naive"] = SeasonalNaive(period=args.period, **sizes)
    if "nlinear" in args.simple:
        made["nlinear"] = fit_nlinear(table.values[:train], **sizes)
    return [as_predictor(model, {}, args.device, name=name) for name, model in made.items()]


def verdict(rows: Sequence[Scores], simple: Sequence[str]) -> list[str]:
    """Says for each horizon which model has the least MSE, plainly where it is a simple one."""
    lines = []
    for horizon in sorted({row.horizon for row in rows}):
        here = sorted((r for r in rows if r.horizon == horizon), key=lambda r: r.mse)
        best = here[0]
        line = f"horizon {horizon}: {best.model} is best (MSE {best.mse:.4f})"
        trained = [row for row in here if row.model not in simple]
        if best.model in simple and trained:
            line += f"; this simple model beats {trained[0].model} ({trained[0].mse:.4f})"
        lines.append(line)
    return lines


def _report(rows: Sequence[Scores], args: argparse.Namespace) -> None:
    table = [[getattr(row, column) for column in COLUMNS] for row in rows]
    if args.out is not None:
        with atomic_write(args.out, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([COLUMNS, *table])
    if args.plot is not None:
        errors: dict[str, dict[int, float]] = {}
        for row in rows:
            errors.setdefault(row.model, {})[row.horizon] = row.mse
        save_figure(backtest_figure(errors, "MSE of scaled series"), args.plot)
    lines = verdict(rows, ("naive", "seasonal naive", "nlinear"))
    if args.json:
        found = [dict(zip(COLUMNS, line, strict=True)) for line in table]
        print(json.dumps({"scores": found, "verdict": lines}, indent=2))
        return
    width = max(len(row.model) for row in rows)
    print(f"{'model':<{width}}  horizon  windows     MSE     MAE    MASE")
    for row in rows:
        print(
            f"{row.model:<{width}}  {row.horizon:>7}  {row.windows:>7}  "
            f"{row.mse:.4f}  {row.mae:.4f}  {row.mase:.4f}"
        )
    print(
        "MSE, MAE: of series scaled by the training part. MASE: error over that of repeating the last "
        f"{args.period} steps in the training part"
    )
    print("\n".join(lines))
