"""Sines, the judge of generated windows, and the task that brings them together."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning import Trainer
from torch import nn

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.training import Adam
from headway.timeseries.metrics import discriminative_score
from headway.timeseries.simulation.sines import Sines, sines
from headway.timeseries.tasks import GenerateSeries


def test_sines_are_what_they_are_called() -> None:
    windows = sines(50, 24, 5, seed=1)
    assert torch.equal(windows, sines(50, 24, 5, seed=1))
    assert not torch.equal(windows, sines(50, 24, 5, seed=2))
    # x[t + 1] + x[t - 1] = 2 cos(w) x[t], with one w for each series of a window.
    middle = windows[:, 1:-1].double()
    cosine = (windows[:, 2:] + windows[:, :-2]).double() / (2 * middle)
    clear = middle.abs() > 0.2
    for series in range(5):
        found = cosine[0, clear[0, :, series], series]
        if len(found):
            assert found.std() < 1e-3
            assert 0.99 < found.mean() <= 1 + 1e-4
    assert windows[:, 0].min() >= 0
    assert windows[:, 0].max() <= torch.sin(torch.tensor(0.1))


def test_the_parts_share_no_window() -> None:
    data = Sines(number=30, tests=10)
    data.setup()
    parts = [data.train_set, data.val_set, data.test_set]
    rows = torch.cat([part.tensors[0] for part in parts]).flatten(1)
    assert len(rows.unique(dim=0)) == 50
    assert data.collate([data.train_set[0]])["x"].shape == (1, 24, 5)
    with pytest.raises(UserError, match="number must be at least 1"):
        Sines(number=0)


@pytest.mark.learns
def test_the_judge_knows_noise_from_sines_and_sines_not_from_sines(seed: int, measured) -> None:
    real = (sines(300, 10, 4, seed=2 * seed) + 1) / 2
    again = (sines(300, 10, 4, seed=2 * seed + 1) + 1) / 2
    measured("sines", discriminative_score(real, again, steps=250, seed=seed), below=0.1)
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(seed))
    measured("noise", discriminative_score(real, noise, steps=1000, seed=seed), above=0.3)
    with pytest.raises(UserError, match="cannot be compared"):
        discriminative_score(real, real[:, :-1])


def test_the_recipe_trains_and_is_judged(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path))
    words = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--model.judge_steps", "3"]
    sizes = ["--data.number", "64", "--data.tests", "10", "--data.batch_size", "32"]
    small = ["--model.backbone.dim", "16", "--model.steps", "5"]
    assert main(["fit", "-c", "timeseries/diffusion_ts_sines", *words, *sizes, *small]) == 0
    [run] = (tmp_path / "timeseries" / "diffusion_ts_sines").glob("*")
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    out = capsys.readouterr().out
    assert '"test_discriminative": ' in out
    assert '"test_discriminative_real": ' in out
    assert (run / "pictures" / "test_generated.png").stat().st_size > 10_000


class Memory(nn.Module):
    """Makes up what it is given."""

    def __init__(self, windows: torch.Tensor) -> None:
        super().__init__()
        self.windows = windows

    def generate(self, number: int, **options: object) -> torch.Tensor:
        return self.windows[:number]


def test_training_windows_are_judged_as_well_as_what_is_made_up(tmp_path: Path) -> None:
    data = Sines(number=400, tests=300, length=10, features=4)
    data.setup()
    noise = 2 * torch.rand(300, 10, 4, generator=torch.Generator().manual_seed(0)) - 1
    task = GenerateSeries(backbone=Memory(noise), optimizer=Adam(lr=1e-3), judge_steps=400)
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    [scores] = trainer.test(task, data, verbose=False)
    assert scores["test_discriminative"] > 0.4
    assert scores["test_discriminative_real"] < 0.1


def test_a_file_is_learned_and_windows_are_written_in_its_units(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    file = tmp_path / "wide.csv"
    rows = np.arange(700)
    values = {"a": 500 + 100 * np.sin(rows / 4), "b": -3 + np.cos(rows / 4)}
    stamps = pd.date_range("2024-01-01", periods=700, freq="h")
    pd.DataFrame({"date": stamps, **values}).to_csv(file, index=False)
    words = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--data.path", str(file)]
    small = ["--model.backbone.dim", "16", "--model.backbone.features", "2", "--model.steps", "5"]
    small += ["--model.judge_steps", "3", "--data.batch_size", "16"]
    assert main(["fit", "-c", "timeseries/diffusion_ts_ett", *words, *small]) == 0
    [run] = (tmp_path / "runs" / "timeseries" / "diffusion_ts_ett").glob("*")
    out, plot = tmp_path / "made.csv", tmp_path / "made.png"
    ask = ["generate", "-m", str(run), "-n", "5", "--steps", "4", "--batch-size", "3"]
    assert main([*ask, "-o", str(out), "--plot", str(plot)]) == 0
    frame = pd.read_csv(out)
    assert list(frame.columns) == ["window", "step", "a", "b"]
    assert frame.window.tolist() == np.repeat(range(5), 24).tolist()
    assert frame.step.tolist() == list(range(24)) * 5
    # Sampling keeps to -1 ... 1, which are the least and the largest value of the training part.
    assert frame.a.between(400 - 1e-6, 600 + 1e-6).all()
    assert frame.a.std() > 10
    assert frame.b.between(-4 - 1e-6, -2 + 1e-6).all()
    assert plot.stat().st_size > 1000
    capsys.readouterr()
    assert main([*ask, "-o", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*ask, "-o", str(out), "--overwrite"]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(out), frame)
