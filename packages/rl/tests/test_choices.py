"""Choices that are not counted from 0, all the way: data, training, play, adapters, files."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from headway.core.cli.main import main

STEPS = 6
SMALL = [
    "dim=16",
    "heads=2",
    "depth=1",
    "dropout=0",
    f"context_length={STEPS}",
    f"max_timestep={STEPS}",
]


class Repeat(gymnasium.Env[int, int]):
    """Says one of three numbers at each step; the reward is 1 for the action in the same place.

    Both are counted from ``start``, and an action that is none of the three is an error.
    """

    def __init__(self, start: int) -> None:
        self.action_space = spaces.Discrete(3, start=start)
        self.observation_space = spaces.Discrete(3, start=start + 4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._next(), {}

    def step(self, action: int) -> Any:
        assert self.action_space.contains(action)
        reward = float(action + 4 == self.seen)
        self.steps += 1
        return self._next(), reward, False, self.steps == STEPS, {}

    def _next(self) -> np.int64:
        self.seen = self.observation_space.start + self.np_random.integers(3)
        return self.seen


@pytest.fixture(params=[1, -1])
def data(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Episodes of somebody who is right four times of five."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    import minari
    from minari.data_collector import EpisodeBuffer

    start, name = request.param, f"headway/Repeat{request.param + 1}-v0"
    gymnasium.register(
        name, f"{__name__}:Repeat", kwargs={"start": start}, disable_env_checker=True
    )
    env, random, buffers = gymnasium.make(name), np.random.default_rng(0), []
    for number in range(60):
        seen, taken, rewards = [env.reset(seed=number)[0]], [], []
        for _ in range(STEPS):
            wrong = random.random() < 0.2
            taken.append(start + random.integers(3) if wrong else seen[-1] - 4)
            observation, reward, *_ = env.step(taken[-1])
            seen.append(observation)
            rewards.append(reward)
        ends = np.arange(STEPS) == STEPS - 1
        buffers.append(
            EpisodeBuffer(
                id=number, observations=np.array(seen), actions=np.array(taken),
                rewards=np.array(rewards), terminations=np.zeros(STEPS, bool), truncations=ends,
            )
        )  # fmt: skip
    minari.create_dataset_from_buffers("test/repeat-v0", buffers, env=name)
    yield "test/repeat-v0"
    del gymnasium.registry[name]


def play(run: Path, out: Path) -> float:
    words = [
        "rollout",
        "-m",
        run,
        "--targets",
        STEPS,
        "--episodes",
        20,
        "-o",
        out,
        "--device",
        "cpu",
    ]
    assert main(list(map(str, words))) == 0
    return float(np.mean([float(row["return"]) for row in csv.DictReader(out.open())]))


@pytest.mark.learns
def test_choices_from_any_number_are_learned_played_and_tuned(
    data: str, tmp_path: Path, seed: int, measured: Callable[..., None]
) -> None:
    """Return of 6; who draws has 2, who is one beside each time has 0."""
    fit = [
        "--data.path",
        data,
        "--data.val",
        "4",
        "--data.number",
        "512",
        "--seed_everything",
        str(seed),
    ]
    fit += [
        "--model.schedule",
        "null",
        "--trainer.accelerator",
        "cpu",
        "--model.optimizer.lr",
        "0.01",
    ]
    model = [f"--model.backbone.{option}" for option in SMALL]
    model += ["--model.backbone.actions", "headway.rl.layers.DiscreteActions"]
    limits = ["--trainer.max_steps", "-1", "--trainer.max_epochs"]
    assert main(["fit", "-c", "rl/decision_minari", *fit, *model, *limits, "4"]) == 0
    first = tmp_path / "runs/rl/decision_minari/1"
    notes = json.loads((first / "model/preprocessing.json").read_text())
    assert notes["environment"].startswith("headway/Repeat")
    measured("return", play(first, tmp_path / "one.csv"), above=5)
    tune = ["--model.backbone.source", str(first), "--model.finetune", "headway.core.finetune.LoRA"]
    tune += ["--model.finetune.rank", "2", "--model.targets", f"[{STEPS}]", "--model.episodes", "4"]
    assert main(["fit", "-c", "rl/finetune", *fit, *tune, *limits, "1"]) == 0
    second = tmp_path / "runs/rl/finetune/1"
    assert (second / "adapter/adapter.safetensors").is_file()
    measured("return tuned", play(second, tmp_path / "two.csv"), above=5)
