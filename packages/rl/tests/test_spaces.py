"""Sizes, bounds and statistics come from the data and are stored with the model."""

import json
import sys
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from headway.core.cli import main
from headway.core.errors import UserError
from headway.core.training import AdamW
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.data import InMemoryTrajectories, KeyToDoorData, checked
from headway.rl.environments import refuse_import
from headway.rl.layers import ContinuousActions, DiscreteActions
from headway.rl.models import BehaviourCloning, DecisionTransformer, SequencePolicy
from headway.rl.tasks import Imitation


def experts(scale: float, number: int = 30, steps: int = 12) -> InMemoryTrajectories:
    """Somebody who acts at the bounds, by the sign of what is seen."""
    random = np.random.default_rng(0)
    episodes = []
    for place in range(number):
        seen = random.normal(size=(steps, 3)).astype(np.float32)
        taken = scale * np.tanh(3 * seen[:, :2])
        episodes.append(
            checked(f"episode {place}", observations=seen, actions=taken, rewards=np.ones(steps))
        )
    return InMemoryTrajectories(episodes, context_length=4, batch_size=32, val=4)


def fit(model, data, epochs: int, folder: Path, seed: int = 0) -> Imitation:
    lightning.seed_everything(seed, verbose=False)
    task = Imitation(backbone=model, optimizer=AdamW(lr=1e-2))
    lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    ).fit(task, data)
    return task


def small(**options) -> DecisionTransformer:
    torch.manual_seed(options.pop("seed", 0))
    return DecisionTransformer(
        dim=16, depth=1, context_length=4, max_timestep=20, dropout=0.0, **options
    )


@pytest.mark.learns
@pytest.mark.parametrize("scale", [2.0, 0.01, 500.0])
def test_actions_of_any_size_are_learned(scale: float, tmp_path: Path, seed: int, measured) -> None:
    """Error as a share of the actions' variance after 30 epochs.

    Worst of seeds 0 to 4: 0.026; without bounds experts at 2 stay at 0.3 and more.
    """
    data = experts(scale)
    model = fit(small(seed=seed), data, 30, tmp_path, seed).model.eval()
    assert (model.observation_dim, model.action_dim) == (3, 2)
    window = data.collate([data.val_set[k] for k in range(len(data.val_set))])
    found = model.predict(window)[window["mask"]]
    wanted = window["actions"][window["mask"]]
    measured("error", (found - wanted).square().mean() / wanted.var(), below=0.1)
    assert (found.abs() <= model.actions.high).all()


def test_bounds_and_sizes_are_stored_with_the_model(tmp_path: Path) -> None:
    model = fit(small(), experts(2.0), 1, tmp_path).model.eval()
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(tmp_path / "model").eval()
    assert again.spaces == model.spaces
    assert again.action_dim == 2
    torch.testing.assert_close(again.actions.high, model.actions.high)
    assert 2.0 < again.actions.high.max() < 2.5
    # A checkpoint from before the bounds were kept means -1 and 1.
    file = tmp_path / "model/model.safetensors"
    state = {name: x for name, x in load_file(file).items() if name not in model.may_miss}
    save_file(state, file)
    old = from_pretrained(tmp_path / "model")
    assert old.actions.high.tolist() == [1, 1]
    with pytest.raises(UserError, match=r"actions between \[1\.0\] and \[1\.0\] are no bounds"):
        ContinuousActions(8, 1).set_bounds(torch.ones(1), torch.ones(1))


def test_choices_that_the_environment_does_not_have_are_refused(tmp_path: Path) -> None:
    for size, reason in ((10, "set the model's action_dim to 4"), (2, "action_dim to 4")):
        model = BehaviourCloning(
            observation_dim=8, action_dim=size, actions=DiscreteActions, dim=16, depth=1
        )
        with pytest.raises(UserError, match=reason):
            fit(model, KeyToDoorData(episodes=8, number=16), 1, tmp_path)
    model = BehaviourCloning(actions=DiscreteActions, dim=16, depth=1)
    fit(model, KeyToDoorData(episodes=8, number=16), 1, tmp_path)
    assert (model.observation_dim, model.action_dim) == (8, 4)


@pytest.mark.parametrize("target", [float("nan"), float("inf"), np.array([1.0, np.nan])])
def test_a_return_that_is_no_number_cannot_be_asked_for(target) -> None:
    with pytest.raises(UserError, match=r"the return that is asked for is .* must be finite"):
        SequencePolicy(small(), target_return=target)


def rollout(folder: Path, *words: str) -> int:
    return main(["rollout", "-m", str(folder), "--episodes", "1", "-o", "-", *words])


def exported(folder: Path, **notes) -> DecisionTransformer:
    model = small(observation_dim=8, action_dim=4, actions=DiscreteActions)
    save_pretrained(model, folder)
    (folder / "preprocessing.json").write_text(json.dumps(notes))
    return model


@pytest.mark.parametrize(
    ("notes", "reason"),
    [
        ({"returns": [1, 2]}, "returns = [1, 2], expected a mapping"),
        ({"returns": {"least": "0"}}, "least = '0', expected a number"),
        ({"returns": {"least": None}}, "no value of least"),
        ({"returns": {"least": [1]}}, "least = [1], expected a number"),
        ({"environment": 3}, "environment = 3, expected a text"),
        ({"returns": {"least": float("nan")}}, "holds NaN"),
    ],
)
def test_notes_of_another_kind_are_one_line(
    notes: dict, reason: str, tmp_path: Path, capsys
) -> None:
    exported(tmp_path, **{"environment": "headway/KeyToDoor-v0", **notes})
    assert rollout(tmp_path) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "preprocessing.json" in lines[0]
    assert reason in lines[0]


def test_rollout_says_what_makes_a_policy_doubtful(tmp_path: Path, capsys) -> None:
    returns = {"least": 0.0, "median": 0.0, "most": 1.0}
    model = exported(tmp_path, environment="headway/KeyToDoor-v0", returns=returns)
    assert rollout(tmp_path, "--targets", "1000000", "1") == 0
    said = capsys.readouterr().err
    assert "asked for 1e+06, the training data have 0 to 1" in said
    assert "holds no statistics" in said
    model.set_statistics(torch.full((8,), 0.5), torch.ones(8), 1.0)
    save_pretrained(model, tmp_path)
    assert rollout(tmp_path, "--targets", "1") == 0
    said = capsys.readouterr().err
    assert "asked for" not in said
    assert "statistics" not in said
    assert rollout(tmp_path, "--targets", "0,1", "0.5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["targets"].keys() == {"0", "0.5", "1"}
    assert rollout(tmp_path, "--targets", "0,x") == 2
    assert "'x' is no number" in capsys.readouterr().err
    assert rollout(tmp_path, "--targets", "nan") == 2
    assert "--targets nan is no return" in capsys.readouterr().err


def test_an_environment_that_a_file_names_imports_nothing(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "evil_rooms.py").write_text("raise SystemExit('imported')\n")
    exported(tmp_path, environment="evil_rooms:Evil-v0", returns={"most": 1.0})
    assert rollout(tmp_path) == 2
    line = capsys.readouterr().err
    assert "'evil_rooms:Evil-v0', which would import a module" in line
    assert "evil_rooms" not in sys.modules
    with pytest.raises(UserError, match="would import"):
        refuse_import("a:b", "here")


def test_json_goes_to_standard_output(tmp_path: Path, capsys) -> None:
    exported(tmp_path, environment="headway/KeyToDoor-v0", returns={"most": 1.0})
    words = ["rollout", "-m", str(tmp_path), "--episodes", "1", "--json"]
    assert main([*words, "-o", str(tmp_path / "table.csv")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["environment"] == "headway/KeyToDoor-v0"
    assert said["out"] == str(tmp_path / "table.csv")
    assert main(words) == 0  # without a file the table is part of it
    [row] = json.loads(capsys.readouterr().out)["rows"]
    assert (row["target"], row["episode"]) == ("1", "0")


def test_a_film_goes_into_a_folder_that_is_made(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    returns = {"least": 0.0, "median": 0.0, "most": 1.0}
    exported(tmp_path, environment="headway/KeyToDoor-v0", returns=returns)
    assert rollout(tmp_path, "--targets", "1", "--video", str(tmp_path / "some" / "films")) == 0
    assert (tmp_path / "some" / "films" / "episodes.mp4").stat().st_size > 0
