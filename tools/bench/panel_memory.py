"""Memory of a panel of 1,000 series x 10,000 steps: peak of reading and cutting, against the raw data.

    python tools/bench/panel_memory.py FOLDER

Writes a long parquet file into FOLDER and reads it. Raw data: the bytes of the frame's three columns.
"""

import argparse
import resource
from pathlib import Path

import numpy as np
import pandas as pd

from headway.timeseries.data import PanelData

SERIES, STEPS = 1000, 10_000


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(path: Path) -> None:
    stamps = pd.date_range("2020-01-01", periods=STEPS, freq="h")
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{k}" for k in range(SERIES)], STEPS),
            "ds": np.tile(stamps.to_numpy(), SERIES),
            "y": random.normal(size=SERIES * STEPS),
        }
    )
    raw = frame.memory_usage(index=False, deep=True).sum() / 2**20
    frame.to_parquet(path)
    print(f"raw data {raw:.0f} MiB; run again to measure")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    path = parser.parse_args().folder / "panel.parquet"
    if not path.exists():
        write(path)  # in a process of its own: its memory would count
        return
    before = peak()
    data = PanelData(path=str(path), context_length=96, horizon=24)
    data.setup()
    assert data.train_set is not None
    next(iter(data.train_dataloader()))
    print(f"before {before:.0f} MiB, peak {peak():.0f} MiB, more {peak() - before:.0f} MiB")


if __name__ == "__main__":
    main()
