"""Trains a small iTransformer on series that it makes, and compares it with simple models.

What it runs is what a user types: ``headway fit -c timeseries/itransformer_ett``, ``headway test -m RUN``,
``headway backtest`` and ``headway forecast``.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from steps import say, step

RECIPE = "timeseries/itransformer_ett"
HOURS, SERIES = 3000, 8
HORIZON = 24
SMALL = {
    "model.backbone.horizon": HORIZON,
    "model.backbone.dim": 64,
    "model.backbone.heads": 4,
    "model.optimizer.lr": 0.001,
    "data.borders": "0.7 0.1 0.2",
    "trainer.max_epochs": 8,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (runs)")
    args, overrides = parser.parse_known_args()
    start = time.monotonic()
    # Tensors this small gain nothing from a second thread.
    torch.set_num_threads(1)
    file = args.runs / "timeseries" / "demo.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    panel().to_csv(file, index=False)
    say(f"{SERIES} series of {HOURS} hours in {file}: seasons, trends, a shared disturbance, noise")
    before = set(args.runs.glob(f"{RECIPE}/*"))
    small = [word for key, value in SMALL.items() for word in (f"--{key}", str(value))]
    fit = ["fit", "-c", RECIPE, "--data.path", str(file), *small]
    if code := step(*fit, "--runs", str(args.runs), *overrides):
        return code
    [run] = set(args.runs.glob(f"{RECIPE}/*")) - before
    pictures = run / "pictures"
    forecast = ["forecast", "-m", str(run), str(file), "-o", str(run / "forecast.csv")]
    for command in (
        ["test", "-m", str(run)],
        [
            *("backtest", str(file), "-m", str(run), "-o", str(run / "backtest.csv")),
            *("--plot", str(pictures / "backtest.png")),
        ],
        [*forecast, "--plot", str(pictures / "demo.png")],
    ):
        if code := step(*command):
            return code
    say("done")
    print(f"picture              {pictures / 'demo.png'}")
    print(f"errors, test windows {pictures}")
    print(f"forecast             {run / 'forecast.csv'}")
    print(f"model                {run / 'model'}")
    print(f"time                 {time.monotonic() - start:.0f} s")
    return 0


def panel() -> pd.DataFrame:
    """Returns series with daily and weekly seasons, trends, and a disturbance that reaches them in turn."""
    random = np.random.default_rng(0)
    time = np.arange(HOURS)
    walk = np.zeros(HOURS + SERIES)
    for hour, shock in enumerate(random.normal(0, 1, len(walk) - 1)):
        walk[hour + 1] = 0.95 * walk[hour] + 0.3 * shock
    columns = {}
    for k in range(SERIES):
        daily = (1 + 0.2 * k) * np.sin(2 * np.pi * (time + 2 * k) / 24)
        weekly = 0.5 * np.cos(2 * np.pi * time / 168 + k)
        # Series k feels it k hours later: the earlier ones tell the later ones what comes.
        shared = walk[SERIES - k : SERIES - k + HOURS]
        noise = random.normal(0, 0.2, HOURS)
        columns[f"site {k}"] = 10 * k + 0.0005 * k * time + daily + weekly + shared + noise
    stamps = pd.date_range("2024-01-01", periods=HOURS, freq="h")
    return pd.DataFrame({"date": stamps, **columns})


if __name__ == "__main__":
    sys.exit(main())
