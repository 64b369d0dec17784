"""Every recipe trains, and its run goes through the verbs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from peers import itransformer
from wide_tables import panel

import headway.timeseries
from headway.core.cli.main import main
from headway.core.weights import from_pretrained

QUICK = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu"]
RECIPES = sorted(
    path.stem for path in (Path(headway.timeseries.__file__).parent / "recipes").glob("*.yaml")
)
# Tested where what they do is.
OTHERS = {
    "finetune",
    "diffusion_ts_ett",
    "diffusion_ts_sines",
    "imputation_ett",
    "anomalies_ucr",
    "lsfan_motions",
    "transformer_vowels",
    "lmuformer_motions",
    "aceformer_ett",
    "factformer_burgers",
    "pde_transformer_burgers",
    "swin_lstm_tracer",
    "gnot_darcy",
    "trades_market",
}
SMALL = {
    "transformer_ett": ["--model.backbone.dim", "16", "--model.backbone.heads", "2"],
    "autoformer_ett": ["--model.backbone.dim", "16", "--model.backbone.heads", "2"],
    "itransformer_ett": ["--model.backbone.dim", "16", "--model.backbone.heads", "2"],
    "informer_ett": ["--model.backbone.dim", "16", "--model.backbone.heads", "2"],
}


@pytest.fixture(autouse=True)
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))


def ett(tmp_path: Path, rows: int = 1500, names: str = "ABCDEFG") -> Path:
    path = tmp_path / "ett.csv"
    panel(rows, names).to_csv(path, index=False)
    return path


def fit(recipe: str, path: Path, *words: str) -> Path:
    before = set(runs(path, recipe))
    data = ["--data.path", str(path), "--data.borders", "0.6 0.2 0.2"]
    assert main(["fit", "-c", f"timeseries/{recipe}", *QUICK, *data, *words]) == 0
    [run] = set(runs(path, recipe)) - before
    return run


def runs(path: Path, recipe: str) -> list[Path]:
    return list((path.parent / "runs" / "timeseries" / recipe).glob("*"))


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in OTHERS])
def test_a_recipe_trains_and_its_run_forecasts(recipe: str, tmp_path: Path, capsys) -> None:
    path = ett(tmp_path, rows=2600 if recipe == "nlinear_ett" else 1300)
    run = fit(recipe, path, *SMALL.get(recipe, []))
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["names"] == list("ABCDEFG")
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert 0 < scores["test_mae"] < 10
    assert (run / "pictures" / "test_forecasts.png").is_file()
    out, plot = tmp_path / "forecast.csv", tmp_path / "forecast.png"
    words = ["forecast", "-m", str(run), str(path), "--horizon", "24", "-o", str(out)]
    assert main([*words, "--plot", str(plot)]) == 0
    frame = pd.read_csv(out)
    assert list(frame.columns) == ["date", *"ABCDEFG"]
    assert len(frame) == 24
    assert frame.notna().all().all()
    assert plot.stat().st_size > 1000
    # In the units of the file: series G swings around 60.
    assert 30 < frame.G.mean() < 100
    assert main(words) == 2
    assert "add --overwrite" in capsys.readouterr().err


def test_aceformer_trains_on_one_series(tmp_path: Path) -> None:
    path = ett(tmp_path, 300, "B")
    run = fit("aceformer_ett", path, "--data.columns", '["B"]', "--data.batch_size", "4")
    out = tmp_path / "f.csv"
    assert main(["forecast", "-m", str(run), str(path), "-o", str(out)]) == 0
    frame = pd.read_csv(out)
    assert len(frame) == 5
    assert frame.B.notna().all()


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing changes."""
    folder = tmp_path_factory.mktemp("own")
    data = ["--data.path", str(ett(folder, 300)), "--data.borders", "0.6 0.2 0.2"]
    sizes = ["--model.backbone.context_length", "24", "--model.backbone.horizon", "12"]
    words = [*QUICK, *SMALL["itransformer_ett"], *data, *sizes, "--runs", str(folder)]
    assert main(["fit", "-c", "timeseries/itransformer_ett", *words]) == 0
    return folder / "timeseries" / "itransformer_ett" / "1"


def peers_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    itransformer(input_size=24, h=12).save(str(folder / "iTransformer_0.ckpt"))
    return folder


def peers_state(tmp_path: Path) -> Path:
    torch.save(itransformer(input_size=24, h=12).state_dict(), tmp_path / "state.pt")
    return tmp_path / "state.pt"


SOURCES = {"own": None, "folder": peers_folder, "state_dict": peers_state}


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_a_trained_model_is_fine_tuned_with_another_horizon(
    source: str, lora: bool, tmp_path: Path, own_run: Path
) -> None:
    make = SOURCES[source]
    published = own_run if make is None else make(tmp_path)
    path = ett(tmp_path, 300, "xyz")
    words = ["--model.backbone.source", str(published), "--model.backbone.horizon", "6"]
    if source == "state_dict":
        words += ["--model.backbone.heads", "2"]
    if lora:
        words += ["--model.finetune", "LoRA", "--model.finetune.rank", "2"]
    run = fit("finetune", path, *words)
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "4"]) == 0
    straight = fit("finetune", path, *words, "--trainer.max_steps", "4")
    ends = [
        torch.load(r / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for r in (run, straight)
    ]
    assert ends[0].keys() == ends[1].keys()
    tuned = from_pretrained(run)
    assert tuned.horizon == 6
    options = {"heads": 2} if source == "state_dict" else {}
    before = from_pretrained(published, **options).state_dict()
    moved = {
        name
        for name, value in tuned.state_dict().items()
        if not name.startswith("head.") and not torch.equal(value, before[name])
    }
    assert moved
    if lora:
        assert all("qkv.weight" in name for name in moved)
    out = tmp_path / "f.csv"
    assert main(["forecast", "-m", str(run), str(path), "-o", str(out)]) == 0
    assert len(pd.read_csv(out)) == 6


def test_a_file_that_does_not_tell_its_heads_says_so(tmp_path: Path, capsys) -> None:
    state = peers_state(tmp_path)
    path = ett(tmp_path, 300, "xyz")
    out = str(tmp_path / "f.csv")
    assert main(["forecast", "-m", str(state), str(path), "-o", out]) == 2
    assert "give heads (n_heads of the model" in capsys.readouterr().err


def test_the_windows_of_data_and_model_must_agree(tmp_path: Path, capsys) -> None:
    path = ett(tmp_path, 400)
    words = ["fit", "-c", "timeseries/nlinear_ett", *QUICK, "--data.path", str(path)]
    sizes = ["--data.context_length", "20", "--data.horizon", "6", "--data.borders", "0.6 0.2 0.2"]
    assert main([*words, *sizes]) == 2
    assert "the data have context_length 20 and the model 336" in capsys.readouterr().err
    assert main([*words, "--data.borders", "[0.7, 0.1, 0.2]"]) == 2
    said = capsys.readouterr().err
    assert "the train part has 280 rows, one window needs context_length 336 + horizon 96" in said


def test_training_with_missing_values(tmp_path: Path) -> None:
    frame = panel(300, "abc")
    frame.loc[np.random.default_rng(0).random(300) < 0.2, "b"] = np.nan
    path = tmp_path / "holes.csv"
    frame.to_csv(path, index=False)
    sizes = ["--model.backbone.context_length", "24", "--model.backbone.horizon", "12"]
    run = fit("itransformer_ett", path, *SMALL["itransformer_ett"], *sizes)
    assert main(["test", "-m", str(run)]) == 0
    assert all(p.isfinite().all() for p in from_pretrained(run).parameters())


MIXERS = {
    "SelfAttention": {},
    "LinearAttention": {},
    "PoolingMixer": {},
    "FourierMixer": {},
    "ProbSparseAttention": {"factor": 1},
    "ConvolutionMixer": {"axes": 1},
}


def with_mixer(tmp_path: Path, mixer: str, arguments: dict) -> list[str]:
    config = tmp_path / "mixer.yaml"
    wanted = {"class_path": f"headway.core.mixers.{mixer}", "init_args": arguments}
    backbone = {"init_args": {"mixer": wanted}}
    config.write_text(yaml.safe_dump({"model": {"init_args": {"backbone": backbone}}}))
    sizes = ["--model.backbone.context_length", "12", "--model.backbone.horizon", "6"]
    data = ["--data.path", str(ett(tmp_path, 120, "abc")), "--data.borders", "0.6 0.2 0.2"]
    words = ["fit", "-c", "timeseries/itransformer_ett", "-c", str(config), *QUICK, *data]
    return [*words, *SMALL["itransformer_ett"], *sizes]


@pytest.mark.parametrize("mixer", MIXERS)
def test_any_mixer_from_yaml(mixer: str, tmp_path: Path) -> None:
    assert main(with_mixer(tmp_path, mixer, MIXERS[mixer])) == 0
    model = from_pretrained(tmp_path / "runs" / "mixer" / "1")
    assert type(model.encoder.blocks[0].mixer.function).__name__ == mixer
    assert all(p.isfinite().all() for p in model.parameters())
    model(torch.randn(2, 12, 3)).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("mixer", "arguments", "said"),
    [
        ("CrossAttention", {}, "CrossAttention needs context="),
        ("ConvolutionMixer", {"axes": 2}, "axes=2"),
        ("WindowAttention", {}, "WindowAttention needs all tokens of a picture on their grid"),
    ],
)
def test_a_mixer_that_makes_no_sense_is_refused(
    mixer: str, arguments: dict, said: str, tmp_path: Path, capsys
) -> None:
    assert main(with_mixer(tmp_path, mixer, arguments)) == 2
    assert said in capsys.readouterr().err


WRAPPED = {"QuantileForecaster": "QuantileLoss", "StudentTForecaster": "StudentTLoss"}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_any_forecaster_becomes_probabilistic_in_a_recipe(
    wrapper: str, tmp_path: Path, capsys
) -> None:
    inner = {"class_path": "headway.timeseries.models.NLinear"}
    inner["init_args"] = {"context_length": 24, "horizon": 12}
    backbone = {
        "class_path": f"headway.timeseries.models.{wrapper}",
        "init_args": {"backbone": inner},
    }
    loss = {"class_path": f"headway.timeseries.tasks.{WRAPPED[wrapper]}"}
    config = tmp_path / "probabilistic.yaml"
    config.write_text(
        yaml.safe_dump({"model": {"init_args": {"loss": loss, "backbone": backbone}}})
    )
    path = ett(tmp_path, 300, "abc")
    words = ["-c", f"{config}", "--data.path", str(path), "--data.borders", "0.6 0.2 0.2"]
    words += ["--data.targets", '["b"]', "--data.period", "24", "--trainer.max_epochs", "2"]
    assert main(["fit", "-c", "timeseries/nlinear_ett", *words]) == 0
    run = tmp_path / "runs" / "probabilistic" / "1"
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert {"test_crps", "test_wql", "test_mase", "test_coverage_80"} <= set(scores)
    assert 0.3 < scores["test_coverage_80"] <= 1
    # One series is scored: its two errors differ by its own deviation.
    scale = json.loads((run / "model" / "preprocessing.json").read_text())["std"][1]
    assert scores["test_mae_original"] == pytest.approx(scale * scores["test_mae"], rel=1e-4)
    out, plot = tmp_path / "f.csv", tmp_path / "f.png"
    words = ["-o", str(out), "--level", "80", "50", "--plot", str(plot)]
    assert main(["forecast", "-m", str(run), str(path), *words]) == 0
    frame = pd.read_csv(out)
    assert list(frame.columns[6:11]) == ["b", "b-lo-50", "b-hi-50", "b-lo-80", "b-hi-80"]
    assert frame[["a", "c", "a-lo-80"]].isna().all().all()
    assert (frame["b-lo-80"] <= frame["b-lo-50"]).all()
    assert (frame["b-lo-50"] < frame["b"]).all()
    assert (frame["b"] < frame["b-hi-50"]).all()
    assert plot.stat().st_size > 1000


def test_a_run_of_points_is_calibrated_on_its_validation_part(tmp_path: Path, capsys) -> None:
    path = ett(tmp_path, 900, "abc")
    sizes = ["--model.backbone.context_length", "48", "--model.backbone.horizon", "6"]
    run = fit("nlinear_ett", path, *sizes, "--trainer.max_steps", "60")
    kept = json.loads((run / "model" / "preprocessing.json").read_text())["conformal"]
    assert kept["windows"] == 180 - 6 + 1
    out = tmp_path / "f.csv"
    forecast = ["forecast", "-m", str(run), str(path), "-o", str(out), "--overwrite"]
    assert main([*forecast, "--level", "80"]) == 0
    frame = pd.read_csv(out)
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    for place, name in enumerate("abc"):
        width = (
            np.array(kept["series"][str(place)][kept["percents"].index(80)]) * notes["std"][place]
        )
        np.testing.assert_allclose(frame[f"{name}-hi-80"] - frame[name], width, rtol=1e-6)
        np.testing.assert_allclose(frame[name] - frame[f"{name}-lo-80"], width, rtol=1e-6)
    capsys.readouterr()
    for words, said in (
        (["--level", "80", "--horizon", "9"], "gives intervals for its own horizon of 6 steps"),
        (["--level", "99.5"], "calibrated for intervals of up to 99 percent"),
        (["--level", "120"], "--level 120 is no percent of an interval"),
    ):
        assert main([*forecast, *words]) == 2
        assert said in capsys.readouterr().err
    notes.pop("conformal")
    (run / "model" / "preprocessing.json").write_text(json.dumps(notes))
    assert main([*forecast, "--level", "80"]) == 2
    assert "has no calibrated intervals" in capsys.readouterr().err
