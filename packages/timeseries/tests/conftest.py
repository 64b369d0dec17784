import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# Tests share the models of the peer by module.
sys.path.insert(0, str(Path(__file__).parent))

from wide_tables import panel

Make = Callable[..., Path]


@pytest.fixture
def make_csv(tmp_path: Path) -> Make:
    """Writes a wide or long file, with holes (row, series) if asked."""

    def make(
        name: str = "data.csv", rows: int = 200, *, names: str = "abc", holes=(), long: bool = False
    ) -> Path:
        frame = panel(rows, names)
        for row, series in holes:
            frame.loc[row, series] = np.nan
        if long:
            frame = frame.melt("date", var_name="unique_id", value_name="y").dropna()
            frame = frame.rename(columns={"date": "ds"})[["unique_id", "ds", "y"]]
        path = tmp_path / name
        frame.to_csv(path, index=False)
        return path

    return make
