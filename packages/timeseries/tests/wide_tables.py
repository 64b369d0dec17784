"""Tables that tests write to files."""

import numpy as np
import pandas as pd


def panel(rows: int, names: str = "abc") -> pd.DataFrame:
    """Daily seasons, a trend and noise."""
    random = np.random.default_rng(0)
    time = np.arange(rows)
    columns = {
        name: 10 * k
        + (k + 1) * np.sin(2 * np.pi * (time + 3 * k) / 24)
        + 0.01 * time
        + random.normal(0, 0.2, rows)
        for k, name in enumerate(names)
    }
    return pd.DataFrame({"date": pd.date_range("2024-01-01", periods=rows, freq="h"), **columns})
