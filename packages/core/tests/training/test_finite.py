"""The first loss that is no number ends a run: one line, exit 1, the last good state kept, nothing exported."""

import math

import pytest
import torch
from headway_toy import ToyModel
from safetensors.torch import load_file, save_file
from torch import nn

from headway.core.cli import main
from headway.core.errors import UserError
from headway.core.finite import non_finite
from headway.core.training.finite import FiniteTraining, NonFiniteError, gradient_norm
from headway.core.weights.load import load_weights


def fit(recipe, tmp_path, *words):
    return main(["fit", "-c", str(recipe), "--runs", str(tmp_path / "runs"), *words])


def test_a_rate_that_blows_up_stops_the_run(recipe, tmp_path, capsys):
    assert fit(recipe, tmp_path, "--model.optimizer.lr", "1e30", "--model.schedule", "null") == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    for part in ("stopped at step", "the last finite loss was", "lower the learning rate"):
        assert part in line
    run = tmp_path / "runs/toy/1"
    assert not (run / "model").exists()
    assert not (run / "checkpoints/best.ckpt").exists()


def test_the_last_good_state_stays(recipe, tmp_path, capsys, monkeypatch):
    assert fit(recipe, tmp_path) == 0
    run = tmp_path / "runs/toy/1"
    before = {path: path.read_bytes() for path in (run / "model").iterdir()}
    words = ["--resume", str(run), "--trainer.max_epochs", "5"]
    monkeypatch.setenv("HEADWAY_TOY_POISON", "1")
    assert main(["fit", *words, "--trainer.callbacks+=headway_toy.Poison"]) == 1
    assert "the loss is nan" in capsys.readouterr().err
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())
    assert {path: path.read_bytes() for path in (run / "model").iterdir()} == before
    monkeypatch.delenv("HEADWAY_TOY_POISON")
    assert main(["fit", *words]) == 0  # and it goes on from there


class Scaler:
    def get_scale(self) -> float:
        return 1024.0


class Folder:
    world_size, global_step, callback_metrics = 1, 7, {}

    def __init__(self, folder, scaler=None):
        self.default_root_dir = str(folder)
        self.precision_plugin = type("Plugin", (), {"scaler": scaler})()


def optimizer_of(gradient: float) -> torch.optim.Optimizer:
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.full((3,), gradient)
    return torch.optim.SGD([parameter], lr=1.0)


def test_gradients_count_too_but_not_what_a_scaler_skips(tmp_path):
    guard = FiniteTraining()
    guard.on_before_optimizer_step(Folder(tmp_path), None, optimizer_of(2.0))
    assert gradient_norm(optimizer_of(2.0)) == pytest.approx(2 * math.sqrt(3))
    for bad in (math.inf, math.nan):
        with pytest.raises(NonFiniteError, match="stopped at step 7: the norm of the gradients"):
            guard.on_before_optimizer_step(Folder(tmp_path), None, optimizer_of(bad))
        guard.on_before_optimizer_step(Folder(tmp_path, Scaler()), None, optimizer_of(bad))
    guard.on_before_backward(Folder(tmp_path, Scaler()), None, torch.tensor(2048.0))
    assert guard.last == 2.0
    with pytest.raises(NonFiniteError, match=r"the loss is inf .the last finite loss was 2"):
        guard.on_before_backward(Folder(tmp_path, Scaler()), None, torch.tensor(math.inf))


def test_all_processes_stop_at_the_gradients_that_they_share(tmp_path):
    trainer = Folder(tmp_path)
    trainer.world_size = 2
    asked = []
    decide = staticmethod(lambda good, all: asked.append(good) or False)
    trainer.strategy = type("Strategy", (), {"reduce_boolean_decision": decide})()
    guard = FiniteTraining()
    guard.on_before_backward(trainer, None, torch.tensor(math.nan))  # the other one must not wait
    with pytest.raises(NonFiniteError, match="the loss is nan"):
        guard.on_before_optimizer_step(trainer, None, optimizer_of(1.0))
    other = FiniteTraining()
    with pytest.raises(NonFiniteError):  # its own numbers are fine
        other.on_before_optimizer_step(trainer, None, optimizer_of(1.0))
    assert asked == [False, True]


def test_broken_weights_are_refused(recipe, tmp_path, capsys):
    assert fit(recipe, tmp_path) == 0
    file = tmp_path / "runs/toy/1/model/model.safetensors"
    state = load_file(file)
    state["head.bias"][1] = math.nan
    with pytest.raises(UserError, match=r"^here is broken: head\.bias holds nan"):
        load_weights(ToyModel(), state, source="here")
    save_file(state, file)


def test_types_of_a_byte_are_looked_at_too():
    state = {"a": torch.tensor([1.0, math.nan]), "b": torch.ones(2), "c": torch.tensor([math.inf])}
    narrow = {name: value.to(torch.float8_e5m2) for name, value in state.items()}
    assert list(non_finite(narrow)) == ["a", "c"]
