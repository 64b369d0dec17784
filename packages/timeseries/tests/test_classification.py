"""Labelled series from files, the task that classifies them, and ``headway classify``."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from torch import nn

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.core.mixers import LegendreMemory, PoolingMixer, SelectiveScan
from headway.core.training import Adam
from headway.core.training.invalid import InvalidItems
from headway.core.weights import from_pretrained, save_pretrained
from headway.timeseries.data import ClassificationData, read_ts
from headway.timeseries.data.classification import split_classes
from headway.timeseries.data.padding import pad_series
from headway.timeseries.models import (
    LSFAN,
    ForecasterClassifier,
    ITransformer,
    LMUFormer,
    PatchTST,
    SeriesClassifier,
)
from headway.timeseries.tasks import ClassifySeries
from headway.timeseries.verbs.classify import classify, load_classifier

HEADER = """# made by hand
@problemName Hand Made
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
"""


def write(path: Path, cases: str, header: str = HEADER) -> Path:
    path.write_text(header + cases)
    return path


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    cases = "1,2,?:-1.5,NaN,3e-1:down\n\n4:5:up\n"
    found = read_ts(write(tmp_path / "x.ts", cases))
    assert (found.problem, found.classes, found.features) == ("Hand Made", ("up", "down"), 2)
    assert found.labels.tolist() == [1, 0]
    assert found.lines == [10, 12]
    np.testing.assert_array_equal(found.series[0], [[1, -1.5], [2, np.nan], [np.nan, 0.3]])
    np.testing.assert_array_equal(found.series[1], [[4, 5]])
    plain = "@univariate true\n@equalLength true\n@classLabel false\n@data\n"
    found = read_ts(write(tmp_path / "y.ts", "1,2\n3,4\n", plain))
    assert found.classes == ()
    assert len(found.labels) == 0
    np.testing.assert_array_equal(found.series[1], [[3], [4]])


WRONG = {
    "1,2:3,4:left": "the class 'left' is none of up, down",
    "1,2:3:up": "the channels have different lengths, 1 to 2 steps",
    "1,2:up": "has 1 channels, expected 2",
    "1,x:3,4:up": "'x' in channel 1, step 2, is no number",
    "1,2:3,inf:up": "channel 2, step 2, is infinite",
    "?,?:?,?:up": "has no known value",
    "up": "there is a class and no values",
}


@pytest.mark.parametrize("case", WRONG)
def test_a_bad_case_is_named_or_left_out(case: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.ts", f"1,2:3,4:up\n{case}\n5,6:7,8:down\n")
    with pytest.raises(InputError, match=f"line 11: {WRONG[case]}"):
        read_ts(path)
    invalid = InvalidItems("skip", "cases")
    assert read_ts(path, invalid).lines == [10, 12]
    assert len(invalid.errors) == 1


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("@problemName x\n", "no line @data"),
        ("@timeStamps true\n@data\n", "line 1: series with time stamps are not read"),
        ("@targetLabel true\n@data\n", "needs @classLabel"),
        ("@univariate maybe\n@data\n", "@univariate is true or false, got maybe"),
        ("@dimensions 0\n@data\n", "@dimensions is a number of at least 1, got 0"),
        ("@classLabel true a a\n@data\n", "names the classes once each"),
        ("@colour red\n@data\n", "@colour is unknown"),
        ("1,2,3:a\n", "line 1 is no line of a .ts header"),
        ("@missing true\n@missing true\n@data\n", "line 2: @missing stands in the header twice"),
        ("@equalLength true\n@seriesLength 3\n@data\n1,2\n", "line 4: has 2 steps, expected 3"),
        ("@equalLength true\n@data\n1,2\n1,2,3\n", "line 4: has 3 steps, expected 2"),
        ("@data\n", "has no case"),
    ],
)
def test_a_header_is_taken_at_its_word(header: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_ts(write(tmp_path / "x.ts", "", header))


def test_every_class_is_split_alike() -> None:
    labels = np.repeat([0, 1, 2], [20, 10, 5])
    train, val = split_classes(labels, 0.2, seed=3)
    assert np.bincount(labels[val]).tolist() == [4, 2, 1]
    assert sorted([*train, *val]) == list(range(35))
    again = split_classes(labels, 0.2, seed=3)
    assert np.array_equal(val, again[1])
    assert not np.array_equal(val, split_classes(labels, 0.2, seed=4)[1])
    with pytest.raises(UserError, match="leaves none of the 1 series of a class"):
        split_classes(np.array([0, 0, 1]), 0.7, seed=0)


SIZES = {"features": 3, "num_classes": 4}
SMALL = {**SIZES, "dim": 16, "heads": 2}
WINDOW = {"context_length": 14, "horizon": 5, "dim": 16, "heads": 2, "depth": 1}
MODELS = {
    "attention": partial(SeriesClassifier, **SMALL),
    "strides": partial(SeriesClassifier, **SMALL, stride=3, window=5),
    "pooling": partial(SeriesClassifier, **SMALL, mixer=PoolingMixer),
    "scan": partial(SeriesClassifier, **SMALL, mixer=SelectiveScan),
    "L-SFAN": partial(LSFAN, **SIZES, channels=(4, 8), heads=2),
    "LMUFormer": partial(LMUFormer, **SMALL, mixer=partial(LegendreMemory, order=4, window=12)),
    "iTransformer": lambda: ForecasterClassifier(backbone=ITransformer(**WINDOW), **SIZES),
    "PatchTST": lambda: ForecasterClassifier(
        backbone=PatchTST(**WINDOW, patch=4, stride=2), **SIZES
    ),
}


def gradients(model: torch.nn.Module, logits: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(logits.square().sum(), list(model.parameters())))


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().double()
    model(torch.randn(8, 12, 3, dtype=torch.float64))  # statistics of batch norms
    model.eval()
    x = torch.randn(3, 12, 3, dtype=torch.float64)
    lengths = torch.tensor([12, 7, 1])
    padded = x.clone()
    for row, length in enumerate(lengths):
        padded[row, length:] = torch.nan
    together = model(padded, lengths=lengths)
    for row, length in enumerate(lengths):
        alone = model(x[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-9, rtol=1e-7)
    summed = [torch.zeros_like(p) for p in model.parameters()]
    for row, length in enumerate(lengths):
        own = gradients(model, model(x[row : row + 1, :length]))
        summed = [total + g for total, g in zip(summed, own, strict=True)]
    for found, expected in zip(gradients(model, together), summed, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_missing_values_are_not_read_and_the_model_comes_back(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    x = torch.randn(2, 12, 3)
    mask = torch.rand(x.shape) > 0.3
    logits = model(x, mask=mask)
    torch.testing.assert_close(model(x.masked_fill(~mask, torch.nan), mask=mask), logits)
    assert (model(x) - logits).abs().max() > 1e-3
    again = from_pretrained(save_pretrained(model, tmp_path / "model")).eval()
    torch.testing.assert_close(again(x, mask=mask), logits)


def test_wrong_series_are_refused() -> None:
    with pytest.raises(UserError, match=r"reads series \(B, T, 3\)"):
        MODELS["attention"]()(torch.randn(2, 5, 4))
    with pytest.raises(UserError, match="a series has 15 steps, the forecaster reads 14"):
        MODELS["iTransformer"]()(torch.randn(2, 15, 3))
    with pytest.raises(UserError, match="reads a forecaster of points, got a Linear"):
        ForecasterClassifier(backbone=torch.nn.Linear(2, 2), **SIZES)
    model = MODELS["LMUFormer"]()
    with pytest.raises(UserError, match="pieces of a stream have no padding"):
        model(torch.randn(2, 3, 3), lengths=torch.tensor([3, 2]), stream=model.init_stream(2))


def test_a_batch_is_padded_and_says_what_is_real() -> None:
    batch = pad_series([np.ones((2, 1)), np.array([[1.0], [np.nan], [3.0]])])
    assert batch["x"][..., 0].tolist() == [[1, 1, 0], [1, 0, 3]]
    assert batch["lengths"].tolist() == [2, 3]
    assert batch["mask"][1, :, 0].tolist() == [True, False, True]
    assert set(pad_series([np.ones((2, 1))] * 2)) == {"x"}


def cases(number: int, seed: int, labelled: bool = True) -> str:
    """Rising or falling lines of any length, far from 0, with noise and holes."""
    random = np.random.default_rng(seed)
    lines = []
    for k in range(number):
        steps = int(random.integers(10, 20))
        slope = 1 if k % 2 else -1
        first = slope * np.linspace(-1, 1, steps) + random.normal(0, 0.2, steps)
        second = random.normal(0, 1, steps)
        values = [100 + 20 * first, second]
        texts = [",".join(f"{v:.4f}" for v in channel) for channel in values]
        texts[1] = "?" + texts[1][texts[1].index(",") :]
        lines.append(":".join([*texts, *(["up" if slope > 0 else "down"] if labelled else [])]))
    return "\n".join(lines) + "\n"


QUICK = ["--trainer.accelerator", "cpu"]
RECIPES = {
    "transformer_vowels": ["--model.backbone.dim", "16", "--model.backbone.heads", "2"],
    "lsfan_motions": [],
    "lmuformer_motions": ["--model.backbone.dim", "16"],
}


@pytest.mark.learns
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_learns_and_its_run_classifies(
    recipe: str, tmp_path: Path, monkeypatch, capsys, seed: int, measured
) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    train = write(tmp_path / "train.ts", cases(60, 0))
    test = write(tmp_path / "test.ts", cases(40, 1))
    words = ["--data.path", str(train), "--data.test", str(test), *QUICK, *RECIPES[recipe]]
    words += ["--model.backbone.features", "2", "--model.backbone.num_classes", "2"]
    words += ["--trainer.max_epochs", "10", "--model.optimizer.lr", "0.004"]
    words += ["--seed_everything", str(seed)]
    assert main(["fit", "-c", f"timeseries/{recipe}", *words]) == 0
    run = tmp_path / "runs" / "timeseries" / recipe / "1"
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    measured("accuracy", scores["test_accuracy"], above=0.95)
    for split in ("val", "test"):
        assert (run / "pictures" / f"{split}_confusion.png").stat().st_size > 5000
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["classes"] == ["up", "down"]
    assert notes["mean"][0] == pytest.approx(100, abs=2)
    out = tmp_path / "out.csv"
    classify = ["classify", "-m", str(run), "-o", str(out), "--overwrite"]
    assert main([*classify, str(test), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["accuracy"] == pytest.approx(scores["test_accuracy"])
    frame = pd.read_csv(out)
    assert list(frame.columns)[2:] == ["prediction", "probability", "p_up", "p_down", "label"]
    np.testing.assert_allclose(frame.p_up + frame.p_down, 1, atol=2e-6)
    assert ((frame.p_up > 0.5) == (frame.prediction == "up")).all()
    # Without labels, in another order, with a case that cannot be read.
    blind = HEADER.replace("true up down", "false")
    lines = cases(40, 1, labelled=False).splitlines()
    path = write(tmp_path / "blind.ts", "\n".join(["1,2:3", *lines[::-1]]) + "\n", blind)
    assert main([*classify, str(path)]) == 2
    assert "line 10: the channels have different lengths" in capsys.readouterr().err
    assert main([*classify, str(path), "--on-invalid", "skip"]) == 0
    assert "40 cases classified" in capsys.readouterr().err
    again = pd.read_csv(out)
    assert "label" not in again
    np.testing.assert_allclose(again.p_up[::-1], frame.p_up, atol=2e-6)
    assert from_pretrained(run).num_classes == 2


def test_any_forecaster_classifies_from_a_recipe(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    path = write(tmp_path / "train.ts", cases(20, 0))
    inner = {"context_length": 20, "horizon": 4, "dim": 16, "heads": 2, "patch": 4, "stride": 4}
    forecaster = {"class_path": "headway.timeseries.models.PatchTST", "init_args": inner}
    backbone = {
        "class_path": "headway.timeseries.models.ForecasterClassifier",
        "init_args": {"backbone": forecaster, "features": 2, "num_classes": 2},
    }
    config = tmp_path / "patches.yaml"
    config.write_text(yaml.safe_dump({"model": {"init_args": {"backbone": backbone}}}))
    words = ["--data.path", str(path), *QUICK, "--trainer.max_steps", "2"]
    assert main(["fit", "-c", "timeseries/lsfan_motions", "-c", str(config), *words]) == 0
    run, out = tmp_path / "runs" / "patches" / "1", tmp_path / "out.csv"
    longer = write(tmp_path / "long.ts", ",".join(["1"] * 21) + ":" + ",".join(["2"] * 21) + ":up")
    assert main(["classify", "-m", str(run), str(path), "-o", str(out)]) == 0
    assert len(pd.read_csv(out)) == 20
    with pytest.raises(InputError, match="line 10: has 21 steps, the model reads up to 20"):
        list(classify(load_classifier(str(run)), read_ts(longer)))


def test_model_and_data_must_agree(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    path = write(tmp_path / "train.ts", cases(20, 0))
    fit = ["fit", "-c", "timeseries/lsfan_motions", "--data.path", str(path), *QUICK]
    assert main(fit) == 2
    assert "the data have 2 features and the model 6" in capsys.readouterr().err
    assert main([*fit, "--model.backbone.features", "2"]) == 2
    assert "the data have 2 num_classes and the model 4" in capsys.readouterr().err
    other = write(tmp_path / "o.ts", cases(4, 0), HEADER.replace("up down", "down up"))
    data = ClassificationData(path=str(path), test=str(other))
    data.setup()
    # Classes are known by name, in whatever order a file has them.
    names = read_ts(other)
    assert [data.classes[k] for k in data.test_set.labels] == [
        names.classes[k] for k in names.labels
    ]
    other = write(
        tmp_path / "o.ts",
        cases(
            4,
            0,
        ),
        HEADER.replace("up down", "up down left"),
    )
    data = ClassificationData(path=str(path), test=str(other))
    with pytest.raises(InputError, match="classes up, down, left"):
        data.setup()


def test_scores_that_agree_at_first_may_part_later() -> None:
    task = ClassifySeries(backbone=nn.Identity(), optimizer=Adam(lr=0.1))
    task.backbone.num_classes = 3  # pyright: ignore
    task.trainer = Trainer(logger=False, enable_checkpointing=False)
    task.setup("fit")
    right = torch.eye(3)[[0, 1, 2]]
    task.scores["val"].update(right, torch.tensor([0, 1, 2]))
    task.scores["val"].update(right[[0, 0, 0]], torch.tensor([0, 0, 1]))
    found = {name: value.item() for name, value in task.scores["val"].compute().items()}
    assert found["val_accuracy"] == pytest.approx(5 / 6)
    # F1 of 6/7, 2/3 and 1.
    assert found["val_macro_f1"] == pytest.approx((6 / 7 + 2 / 3 + 1) / 3)
