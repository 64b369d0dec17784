"""Long frames that tests learn from and forecast."""

import numpy as np
import pandas as pd


def series(number: int = 12, rows: int = 400, kind: str = "season", seed: int = 0) -> pd.DataFrame:
    """Seasons and noise, random walks (``walk``), or noise alone (``shuffled``)."""
    random = np.random.default_rng(seed)
    time, parts = np.arange(rows), []
    for k in range(number):
        noise = random.normal(size=rows)
        y = {
            "season": 5 * k + np.sin(2 * np.pi * (time + k) / 24) * (1 + k / 4) + 0.3 * noise,
            "walk": noise.cumsum(),
            "shuffled": noise,
        }[kind]
        stamps = pd.date_range("2024-01-01", periods=rows, freq="h")
        parts.append(pd.DataFrame({"unique_id": f"s{k}", "ds": stamps, "y": y}))
    return pd.concat(parts, ignore_index=True)
