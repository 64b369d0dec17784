"""Windows of a file for generative models."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from headway.core.errors import InputError, UserError
from headway.timeseries.data import GenerationData


def written(folder: Path, values: np.ndarray) -> str:
    stamps = pd.date_range("2024-01-01", periods=len(values), freq="h")
    frame = pd.DataFrame(values, columns=[f"s{k}" for k in range(values.shape[1])])
    frame.insert(0, "date", stamps)
    frame.to_csv(folder / "series.csv", index=False)
    return str(folder / "series.csv")


def rows_of(data: GenerationData, name: str) -> set[int]:
    """Returns the rows that the windows of a part read, of a file whose values are their rows."""
    windows = getattr(data, name).tensors[0].double()
    low, high = data.preprocessing()["low"][0], data.preprocessing()["high"][0]
    return set((low + (windows + 1) / 2 * (high - low)).round().long().flatten().tolist())


def test_parts_share_no_step_and_windows_are_of_the_file(tmp_path: Path) -> None:
    values = np.arange(1000.0)[:, None]
    data = GenerationData(path=written(tmp_path, values), length=10, block=50)
    data.setup()
    parts = [rows_of(data, name) for name in ("train_set", "val_set", "test_set")]
    assert [len(part) for part in parts] == [800, 100, 100]
    assert set.union(*parts) == set(range(1000))
    windows = data.train_set.tensors[0]
    # Blocks of 50 steps have 41 windows of 10; all windows rise by one row a step.
    assert len(windows) == 16 * 41
    assert torch.allclose(windows.diff(dim=1), windows[0, 1] - windows[0, 0], atol=1e-5)
    other = GenerationData(path=data.path, length=10, block=50, seed=1)
    other.setup()
    assert rows_of(other, "test_set") != parts[2]
    assert data.collate([data.train_set[0]])["x"].shape == (1, 10, 1)


def test_training_series_fill_the_range_and_missing_values_are_left_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.normal(3, 5, (600, 2))
    values[7, 1] = np.nan
    values[:, 1] *= 100
    data = GenerationData(path=written(tmp_path, values), length=6, tests=5)
    data.setup()
    windows = data.train_set.tensors[0]
    assert windows.isfinite().all()
    assert windows.amin((0, 1)).tolist() == [-1, -1]
    assert windows.amax((0, 1)).tolist() == [1, 1]
    assert len(data.test_set) == 5
    whole = GenerationData(path=data.path, length=6, columns=["s0"])
    whole.setup()
    lost = len(whole.train_set) - len(windows)
    assert lost in (0, 6)  # none if the hole lies in another part
    assert data.preprocessing()["names"] == ["s0", "s1"]


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, np.arange(40.0)[:, None])
    with pytest.raises(UserError, match="length 24 must be at least 1 and at most block 10"):
        GenerationData(path=path, block=10)
    with pytest.raises(UserError, match="shares are three parts of 1"):
        GenerationData(path=path, shares=(0.9, 0.2, 0.1))
    with pytest.raises(
        InputError, match="no block of 240 steps with values of every series is left"
    ):
        GenerationData(path=path).setup()
    with pytest.raises(UserError, match="no series 'x'"):
        GenerationData(path=path, columns=["x"]).setup()
