import json
import os
import signal
import warnings

import pytest
import torch
import yaml
from safetensors.torch import load_file

from headway.core.cli import main
from headway.core.training.metrics_file import read_metrics


def test_fit_fills_a_new_run_folder_each_time(recipe, tmp_path, capsys):
    words = [
        "fit",
        "-c",
        str(recipe),
        "--runs",
        str(tmp_path / "runs"),
        "--trainer.max_epochs",
        "2",
    ]
    assert main(words) == 0
    assert main([*words, "--model.optimizer", "SGD", "--model.optimizer.lr", "0.1"]) == 0
    one, two = tmp_path / "runs/toy/1", tmp_path / "runs/toy/2"
    for run in (one, two):
        for name in (
            "config.yaml",
            "checkpoints/last.ckpt",
            "checkpoints/best.ckpt",
            "metrics.csv",
        ):
            assert (run / name).is_file(), name
        assert (run / "pictures/curves.png").read_bytes().startswith(b"\x89PNG")
    assert yaml.safe_load((two / "config.yaml").read_text())["model"]["init_args"]["optimizer"][
        "class_path"
    ].endswith("SGD")
    metrics = read_metrics(one / "metrics.csv")
    assert metrics["epoch"] == [0, 1]
    assert metrics["cpu_minutes"][1] > metrics["cpu_minutes"][0] > 0
    assert None not in metrics["train_loss"] + metrics["val_accuracy"]
    out = capsys.readouterr().out
    assert "epoch 2/2" in out
    assert "\x1b" not in out
    assert "\r" not in out


def test_exported_model_is_the_average_of_the_best_epoch(recipe, tmp_path):
    assert main(["fit", "-c", str(recipe), "--runs", str(tmp_path)]) == 0
    run = tmp_path / "toy/1"
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    weights = load_file(run / "model/model.safetensors")
    assert torch.equal(weights["head.weight"], best["average"]["tensors"]["backbone.head.weight"])
    assert not torch.equal(weights["head.weight"], best["state_dict"]["backbone.head.weight"])
    assert json.loads((run / "model/preprocessing.json").read_text()) == {
        "classes": ["none", "one", "both"]
    }
    assert json.loads((run / "model/config.json").read_text())["class_path"].endswith("ToyModel")


def test_several_recipes_merge_in_order_and_options_go_over_them(recipe, tmp_path):
    second = tmp_path / "second.yaml"
    second.write_text("model: {init_args: {smoothing: 0.1}}\ntrainer: {max_epochs: 3}\n")
    words = ["-c", str(recipe), "-c", str(second), "--trainer.max_epochs=2"]
    assert main(["fit", *words, "--runs", str(tmp_path)]) == 0
    config = yaml.safe_load((tmp_path / "second/1/config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 2
    assert config["model"]["init_args"]["smoothing"] == 0.1
    assert config["model"]["init_args"]["layer_decay"] == 0.8


def test_validate_and_test_read_the_best_checkpoint_of_a_run(recipe, tmp_path, capsys):
    assert main(["fit", "-c", str(recipe), "--runs", str(tmp_path)]) == 0
    run = tmp_path / "toy/1"
    capsys.readouterr()
    assert main(["validate", "-m", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    metrics = read_metrics(run / "metrics.csv")
    assert abs(found["val_accuracy"] - max(metrics["val_accuracy"])) < 1e-6
    assert main(["test", "-m", str(run / "checkpoints/last.ckpt")]) == 0
    assert "test_loss" in capsys.readouterr().out


def test_print_config_trains_nothing(recipe, tmp_path, capsys):
    words = ["fit", "-c", str(recipe), "--runs", str(tmp_path / "runs"), "--print_config"]
    assert main(words) == 0
    assert "max_epochs: 3" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_told_to_stop_does_not_pass_for_a_finished_one(
    recipe, tmp_path, capsys, monkeypatch
):
    def terminate(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("headway_toy.ToyTask.on_train_epoch_start", terminate, raising=False)
    assert main(["fit", "-c", str(recipe), "--runs", str(tmp_path / "runs")]) == 143
    said = capsys.readouterr().out
    assert f"terminated; continue with headway fit --resume {tmp_path / 'runs/toy/1'}" in said
    assert "done:" not in said


def test_interrupting_a_run_says_how_to_go_on(recipe, tmp_path, capsys, monkeypatch, request):
    def interrupt(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)

    # Shells start what runs in the background with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    monkeypatch.setattr("headway_toy.ToyTask.on_train_epoch_start", interrupt, raising=False)
    assert main(["fit", "-c", str(recipe), "--runs", str(tmp_path / "runs")]) == 130
    said = capsys.readouterr().out
    assert f"interrupted; continue with headway fit --resume {tmp_path / 'runs/toy/1'}" in said
    assert "done:" not in said
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_going_on_with_other_data_is_said(tmp_path, recipe, capsys):
    data = tmp_path / "data.csv"
    data.write_text("a\n1\n")
    words = ["--data", "headway_toy.FileData", "--data.path", str(data)]
    assert main(["fit", "-c", str(recipe), "--runs", str(tmp_path / "runs"), *words]) == 0
    run = str(tmp_path / "runs/toy/1")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert main(["fit", "--resume", run, "--trainer.max_epochs", "4"]) == 0
        assert not [w for w in seen if "has changed" in str(w.message)]
        data.write_text("a\n2\n")
        assert main(["fit", "--resume", run, "--trainer.max_epochs", "5"]) == 0
        assert [w for w in seen if f"{data} has changed since this run began" in str(w.message)]


def test_an_error_in_a_worker_is_one_line(recipe, tmp_path, capsys):
    words = ["fit", "-c", str(recipe), "--runs", str(tmp_path / "runs"), "--data.workers", "1"]
    for kind, code in (("InputError", 2), ("KeyError", 1)):
        assert main([*words, "--data", "headway_toy.BrokenData", "--data.kind", kind]) == code
        [line] = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("headway: ")
        assert "item 7" in line
        assert "Traceback" not in line
        assert "Caught" not in line


@pytest.mark.parametrize("place", ["/proc/nowhere", "file"])
def test_a_place_where_no_run_folder_can_be_made(recipe, tmp_path, capsys, place):
    (tmp_path / "file").write_text("")
    assert main(["fit", "-c", str(recipe), "--runs", str(tmp_path / place)]) == 2
    assert "cannot make a run folder in" in capsys.readouterr().err


def test_running_out_of_memory_is_called_that(recipe, tmp_path, capsys):
    words = ["--model.backbone.dim", "100000000", "--runs", str(tmp_path / "runs")]
    assert main(["fit", "-c", str(recipe), *words]) == 1
    assert "out of memory: lower data.batch_size" in capsys.readouterr().err
