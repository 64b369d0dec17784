"""Hidden values, the task that finds them, and ``headway impute``."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from wide_tables import panel

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.mixers import FourierMixer, LegendreMemory, SelectiveScan
from headway.core.weights import save_pretrained
from headway.timeseries.data import HideBlocks, HidePoints, ImputationData
from headway.timeseries.figures import stretches
from headway.timeseries.layers import interpolated
from headway.timeseries.models import (
    Autoformer,
    DLinear,
    Informer,
    ITransformer,
    MomentEncoder,
    PatchTST,
    SAMformer,
    Transformer,
)
from headway.timeseries.models.reconstruction import check_reconstructs, reconstruct

LENGTH = 24
SMALL = {"context_length": LENGTH, "dim": 16, "heads": 2, "depth": 1}
BOTH = {**SMALL, "horizon": LENGTH}
PLAIN = {"context_length": LENGTH, "horizon": LENGTH}
MOMENTS = {**BOTH, "variates": 3, "start": 12}
MODELS = {
    "ITransformer": partial(ITransformer, **BOTH),
    "PatchTST": partial(PatchTST, **BOTH, patch=6, stride=3),
    "Autoformer": partial(Autoformer, **MOMENTS, window=5),
    "Informer": partial(Informer, **MOMENTS),
    "Transformer": partial(Transformer, **MOMENTS),
    "SAMformer": partial(SAMformer, **PLAIN),
    "DLinear": partial(DLinear, **PLAIN, window=5),
    "moments": partial(MomentEncoder, **SMALL, variates=3),
    "moments by scan": partial(MomentEncoder, **SMALL, variates=3, mixer=SelectiveScan),
    "moments by Fourier": partial(MomentEncoder, **SMALL, variates=3, mixer=FourierMixer),
    "moments by LMU": partial(
        MomentEncoder, **SMALL, variates=3, mixer=partial(LegendreMemory, order=4, window=12)
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_any_forecaster_reconstructs_and_never_sees_what_is_hidden(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    check_reconstructs(model, LENGTH)
    x = torch.randn(2, LENGTH, 3)
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    answer = reconstruct(model, x, mask=known)
    assert answer.shape == x.shape
    torch.testing.assert_close(reconstruct(model, x.masked_fill(~known, 1e4), mask=known), answer)
    torch.testing.assert_close(
        reconstruct(model, x.masked_fill(~known, torch.nan), mask=known), answer
    )
    other = x + torch.where(known, torch.randn(x.shape), 0.0)
    assert (reconstruct(model, other, mask=known) - answer).abs().max() > 1e-2


def test_lines_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    x, known = random.normal(size=(3, 30, 2)), random.random((3, 30, 2)) > 0.6
    known[0, :, 0] = False
    known[1, :, 0] = np.arange(30) == 7
    given = torch.from_numpy(np.where(known, x, np.nan))
    found = interpolated(given, torch.from_numpy(known)).numpy()
    for b, n in np.ndindex(3, 2):
        at = np.flatnonzero(known[b, :, n])
        expected = np.interp(np.arange(30), at, x[b, at, n]) if len(at) else np.zeros(30)
        np.testing.assert_allclose(found[b, :, n], expected, atol=1e-12)


def holes(rows: int = 300) -> pd.DataFrame:
    frame = panel(rows)
    frame.loc[40:44, "b"] = np.nan
    frame.loc[[100, 290], "c"] = np.nan
    return frame


@pytest.fixture
def data(tmp_path: Path) -> ImputationData:
    holes().to_csv(tmp_path / "holes.csv", index=False)
    found = ImputationData(
        path=str(tmp_path / "holes.csv"), context_length=LENGTH, ratios=[0.2, 0.6]
    )
    found.setup()
    return found


def test_what_is_hidden_is_a_function_of_seed_epoch_and_index(data: ImputationData) -> None:
    places = [(3, 5), (3, 40), (4, 5)]
    batches = data.seeded(data.train_set)
    together = batches.__getitems__(places)
    for row, place in enumerate(places):
        alone = batches[place]
        assert torch.equal(alone["hidden"], together["hidden"][row])
        assert alone["ratio"] == together["ratio"][row]
    assert not torch.equal(together["hidden"][0], together["hidden"][2])
    data.seed = 1
    again = data.seeded(data.train_set).__getitems__(places)["hidden"]
    assert not torch.equal(again, together["hidden"])


def test_missing_values_are_never_hidden_and_ratios_are_kept(data: ImputationData) -> None:
    batches = data.seeded(data.test_set)
    batch = batches.__getitems__(list(range(len(data.test_set))))
    assert (~batch["mask"]).any()
    assert not (batch["hidden"] & ~batch["mask"]).any()
    for ratio in (0.2, 0.6):
        chosen = batch["ratio"] == ratio
        assert chosen.float().mean() == 0.5
        share = batch["hidden"][chosen].sum() / batch["mask"][chosen].sum()
        assert share == pytest.approx(ratio, abs=0.02)
    # As published tables have it, the first window lies before the part but for its last row.
    assert len(data.test_set) == 2 * (60 + LENGTH - LENGTH + 1)


def test_blocks_are_stretches_of_their_length() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = HideBlocks(7)((7000, 2), 0.25, generator)
    assert hidden.float().mean() == pytest.approx(0.25, abs=0.02)
    inner = stretches(hidden[:, 0].numpy())[1:-1]
    assert len(inner) > 50
    assert all((last + 1 - first) % 7 == 0 for first, last in inner)
    single = HidePoints()((7000, 2), 0.25, generator)
    assert np.diff(single[:, 0].int().numpy()).astype(bool).mean() == pytest.approx(0.375, abs=0.03)


RECIPE = ["fit", "-c", "timeseries/imputation_ett", "--trainer.accelerator", "cpu"]
SIZES = ["--model.backbone.variates", "3", "--model.backbone.context_length", str(LENGTH)]
SIZES += ["--model.backbone.dim", "16", "--model.backbone.heads", "2"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> Path:
    """Trained for seconds on daily seasons, of which stretches of eight hours are hidden."""
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    holes(600).to_csv(tmp_path / "train.csv", index=False)
    words = ["--data.path", str(tmp_path / "train.csv"), "--data.borders", "0.6 0.2 0.2"]
    words += ["--data.ratios", "[0.3]", "--data.hiding", "HideBlocks", "--data.hiding.length", "8"]
    words += ["--trainer.max_epochs", "6", "--model.optimizer.lr", "0.01", "--data.batch_size", "8"]
    words += ["--seed_everything", str(seed)]
    assert main([*RECIPE, *SIZES, *words]) == 0
    return tmp_path / "runs" / "timeseries" / "imputation_ett" / "1"


@pytest.mark.learns
def test_it_learns_what_lines_cannot_say_and_fills_a_file(
    run: Path, tmp_path: Path, capsys, seed: int, measured
) -> None:
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["test_mse"] == pytest.approx(scores["test_mse_at_0.3"])
    measured("of lines' error", scores["test_mse"] / scores["test_mse_linear"], below=0.8)
    measured("of the mean's error", scores["test_mse"] / scores["test_mse_mean"], below=0.6)
    assert (run / "pictures" / "test_imputation.png").stat().st_size > 10_000

    frame = panel(300)
    gaps = {"a": range(50, 58), "b": [0, 299], "c": range(120, 124)}
    text = frame.astype(str)
    text.loc[10, "a"] = "9.00"  # not how pandas would write it
    for name, rows in gaps.items():
        text.loc[list(rows), name] = ""
    text.to_csv(tmp_path / "gaps.csv", index=False)
    out, plot = tmp_path / "filled.csv", tmp_path / "filled.png"
    impute = ["impute", "-m", str(run), str(tmp_path / "gaps.csv"), "-o", str(out)]
    assert main([*impute, "--plot", str(plot)]) == 0
    assert "14 of 14 missing values filled" in capsys.readouterr().err
    assert plot.stat().st_size > 10_000
    filled = pd.read_csv(out, dtype=str, keep_default_na=False)
    known = text != ""
    assert (filled[known] == text[known])[known].stack().all()
    found = filled.drop(columns="date").astype(float)
    spread = frame["a"].std()
    missed = (found.loc[50:57, "a"] - frame.loc[50:57, "a"]).abs().mean()
    measured("missed", missed / spread, below=1.0)
    assert main(impute) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert main(["forecast", "-m", str(run), str(out), "-o", str(tmp_path / "f.csv")]) == 2
    assert "use headway impute" in capsys.readouterr().err


def saved(tmp_path: Path, **notes) -> Path:
    torch.manual_seed(0)
    folder = save_pretrained(ITransformer(**BOTH), tmp_path / "model")
    content = {"task": "imputation", "step": "h", "names": [], "mean": [], "std": [], **notes}
    (folder / "preprocessing.json").write_text(json.dumps(content))
    return folder


def test_a_gap_without_an_end_in_sight_is_named_and_left(tmp_path: Path, capsys) -> None:
    model = saved(tmp_path)
    frame = panel(200)
    frame.loc[60:129, "b"] = np.nan
    frame.loc[7, "c"] = np.nan
    path, out = tmp_path / "gap.csv", tmp_path / "out.csv"
    frame.to_csv(path, index=False)
    impute = ["impute", "-m", str(model), str(path), "-o", str(out)]
    assert main(impute) == 2
    said = capsys.readouterr().err
    assert f"{path}, series b: has no value from" in said
    assert "(rows " in said
    assert not out.exists()
    assert main([*impute, "--on-invalid", "skip", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = pd.read_csv(out)
    assert found.c.notna().all()
    # Rows that share a window with an end of the gap are filled, those in the middle are not.
    left = np.flatnonzero(found.b.isna())
    assert 60 < left[0] <= 60 + LENGTH
    assert 129 - LENGTH <= left[-1] < 129
    assert told["filled"] == 71 - len(left)
    assert len(told["invalid"]) == 1
    short = tmp_path / "short.csv"
    frame.head(20).to_csv(short, index=False)
    assert main(["impute", "-m", str(model), str(short), "-o", str(tmp_path / "s.csv")]) == 2
    assert "has 20 rows, the model reads 24" in capsys.readouterr().err


def test_a_long_file_keeps_its_rows_and_gets_those_that_it_lacks(tmp_path: Path) -> None:
    model = saved(tmp_path)
    long = panel(100, "ab").melt("date", var_name="unique_id", value_name="y")
    long = long.rename(columns={"date": "ds"})[["unique_id", "ds", "y"]]
    long.loc[30, "y"] = np.nan  # of a
    lacking = long.index[140]  # of b, row 40
    before = long.drop(index=[lacking, 199])  # and the last one of b, behind its end
    before.to_csv(tmp_path / "long.csv", index=False)
    out = tmp_path / "out.csv"
    assert main(["impute", "-m", str(model), str(tmp_path / "long.csv"), "-o", str(out)]) == 0
    given = (tmp_path / "long.csv").read_text().splitlines()
    found = out.read_text().splitlines()
    assert len(found) == len(given) + 1
    assert [k for k, line in enumerate(given) if found[k] != line] == [31]
    assert found[31].startswith(given[31])
    assert found[-1].startswith("b,2024-01-02 16:00:00,")
    assert pd.read_csv(out).y.notna().all()


def test_models_that_answer_with_something_else_are_refused(tmp_path: Path, capsys) -> None:
    with pytest.raises(UserError, match="reads 24 steps and answers with 6"):
        check_reconstructs(ITransformer(context_length=24, horizon=6))
    with pytest.raises(UserError, match="windows of 12 steps, the model reads 24"):
        check_reconstructs(ITransformer(**BOTH), 12)
    with pytest.raises(UserError, match="got a Linear"):
        check_reconstructs(torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="asked was a horizon of 6"):
        MomentEncoder(**SMALL, variates=3).set_horizon(6)
    with pytest.raises(UserError, match="shares between 0 and 1"):
        ImputationData(path="x.csv", ratios=[0.5, 1.5])
    model = saved(tmp_path, task="anomalies")
    panel(50).to_csv(tmp_path / "x.csv", index=False)
    words = [str(tmp_path / "x.csv"), "-o", str(tmp_path / "o.csv")]
    assert main(["impute", "-m", str(model), *words]) == 2
    assert "was not trained for imputation" in capsys.readouterr().err
