"""``headway backtest --panel``: a table, JSON and a picture of models on a panel."""

import argparse
import csv
import json

from headway.core.errors import UserError
from headway.core.files import atomic_write, save_figure
from headway.core.training.invalid import InvalidItems
from headway.timeseries.data.frames import read_frame
from headway.timeseries.data.panel import Covariates, check_series, panel_of
from headway.timeseries.pictures import backtest_figure
from headway.timeseries.verbs import candidates
from headway.timeseries.verbs.candidates import Candidate
from headway.timeseries.verbs.loading import load_predictor
from headway.timeseries.verbs.panel_backtest import (
    CALIBRATION,
    REFERENCE,
    PanelScores,
    backtest_panel,
    checkpoint,
    training_part,
    verdict,
)
from headway.timeseries.verbs.panels import panel_covariates

SIMPLE = ("naive", "seasonal", "nlinear", "autoets", "lightgbm")


def run_panel(args: argparse.Namespace) -> int:
    """Prints one row for each model, and says where a simple model wins."""
    if args.horizon is not None and len(args.horizon) > 1:
        raise UserError("a panel is compared over one --horizon at a time")
    trained = [load_predictor(source, args.device) for source in args.checkpoint or []]
    for predictor in trained:
        if not predictor.notes.get("panel"):
            raise UserError(
                f"{predictor.name} was not trained on a panel (PanelData); leave out --panel"
            )
    horizon = args.horizon[0] if args.horizon else min([p.model.horizon for p in trained] or [24])
    invalid = InvalidItems("raise" if args.on_invalid == "raise" else "skip", "series")
    needed = [panel_covariates(predictor) for predictor in trained]
    if any(one != needed[0] for one in needed):
        raise UserError("the models read different covariates; compare them one by one")
    covariates = needed[0] if needed else Covariates()
    panel = panel_of(
        read_frame(args.input), str(args.input), covariates=covariates, invalid=invalid
    )
    context = max([args.context_length, *(p.context_length for p in trained)])
    left_out = horizon * (args.windows + CALIBRATION)
    why = f"context {context} before {args.windows + CALIBRATION} stretches of {horizon}"
    panel = check_series(panel, invalid, context + horizon + left_out, why)
    invalid.log(len(panel.names) + len(invalid.errors))
    train = training_part(panel, horizon, args.windows)
    models: dict[str, Candidate] = {p.name: checkpoint(p, panel) for p in trained}
    # The reference is always there.
    models[REFERENCE] = candidates.seasonal_naive(args.period)
    if "naive" in args.simple:
        models["naive"] = candidates.naive
    if "nlinear" in args.simple:
        models["nlinear"] = candidates.nlinear(train, args.context_length, horizon)
    if "autoets" in args.simple:
        models["AutoETS"] = candidates.auto_ets(args.period)
    if "lightgbm" in args.simple:
        models["LightGBM"] = candidates.light_gbm(train, args.period, horizon)
    rows = backtest_panel(panel, models, horizon=horizon, windows=args.windows, period=args.period)
    line = verdict(rows, [p.name for p in trained])
    if args.out is not None:
        with atomic_write(args.out, "w") as file:
            writer = csv.DictWriter(file, list(rows[0].as_dict()), lineterminator="\n")
            writer.writeheader()
            writer.writerows(row.as_dict() for row in rows)
    if args.plot is not None:
        errors = {row.model: {horizon: row.mase} for row in rows}
        save_figure(backtest_figure(errors, "MASE"), args.plot)
    if args.json:
        skipped = [{"name": e.name, "reason": e.reason} for e in invalid.errors]
        found = [row.as_dict() for row in rows]
        print(json.dumps({"scores": found, "verdict": line, "skipped": skipped}, indent=2))
        return 0
    _table(rows)
    print(f"{len(panel.names)} series, {len(invalid.errors)} left out. {line}")
    return 0


def _table(rows: list[PanelScores]) -> None:
    width = max(len(row.model) for row in rows)
    print(
        f"{'model':<{width}}  MASE (95 %)             CRPS   WQL    skill (95 %)              in 80 %"
    )
    for row in rows:
        mase, skill = (
            f"{value:7.4f} ({ends[0]:7.4f} to {ends[1]:7.4f})"
            for value, ends in ((row.mase, row.mase_interval), (row.skill, row.skill_interval))
        )
        print(
            f"{row.model:<{width}}  {mase}  {row.crps:.4f} {row.wql:.4f} {skill}  {row.coverage:.3f}"
        )
