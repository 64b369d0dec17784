import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from headway.rl.data import InMemoryTrajectories, TrajectoryData, checked
from headway.rl.environments import TWO_WAY, KeyToDoor, make_vector
from headway.rl.metrics import evaluate
from headway.rl.models import DecisionModel


@pytest.fixture
def train() -> Callable[..., None]:
    """Trains a model on drawn stretches without Lightning, with a learning rate that falls like a cosine."""

    def run(model: DecisionModel, data: TrajectoryData, *, steps: int, rate: float = 1e-3) -> None:
        data.setup()
        model.set_spaces(data.spaces.to_json())
        model.prepare(data.statistics())
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
        for step in range(steps):
            share = min(1.0, (step + 1) / 50) * (1 + math.cos(math.pi * step / steps)) / 2
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            batch = data.collate([data.train_set[0] for _ in range(data.batch_size)])
            optimizer.zero_grad()
            model.loss(batch)["loss"].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()

    return run


@pytest.fixture
def ways() -> Callable[..., tuple[float, float, list]]:
    """Plays in the plane with a disc: shares of episodes that went over and under it to the goal, all totals."""

    def play(
        model: DecisionModel, episodes: int, environments: int = 32
    ) -> tuple[float, float, list]:
        envs, taken = make_vector(TWO_WAY, environments), []
        step = envs.step

        def noting(actions):
            out = step(actions)
            ended = out[2] | out[3]
            taken.extend((out[4]["way"] * out[4]["success"])[ended].tolist())
            return out

        envs.step = noting
        found = evaluate(model, envs, episodes=episodes, deterministic=False)
        played = taken[:episodes]
        return played.count(1) / len(played), played.count(-1) / len(played), found

    return play


@pytest.fixture
def two_choices() -> Callable[[int], InMemoryTrajectories]:
    """Makes episodes in each of which all actions are alike, and of two kinds."""

    def make(seed: int) -> InMemoryTrajectories:
        """Always the same is seen; in half of the episodes all actions are about 1, in half about -1."""
        random = np.random.default_rng(seed)
        episodes = []
        for number in range(200):
            side = 1 if number % 2 else -1
            actions = side + 0.05 * random.standard_normal((8, 1))
            episodes.append(
                checked(
                    f"episode {number}",
                    observations=np.ones((8, 1), np.float32),
                    actions=actions.astype(np.float32),
                    rewards=np.zeros(8),
                )
            )
        return InMemoryTrajectories(episodes, context_length=4, batch_size=64, number=64)

    return make


@pytest.fixture
def minari_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set that Minari itself has written."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    import minari
    from minari.data_collector import EpisodeBuffer

    env = KeyToDoor()
    buffers = []
    for seed in range(6):
        observations, ended = [env.reset(seed=seed)[0]], False
        actions, rewards, ends = [], [], []
        while not ended:
            action = seed % 4
            seen, reward, ended, _, _ = env.step(action)
            observations.append(seen)
            actions.append(action)
            rewards.append(reward)
            ends.append(ended)
        buffers.append(
            EpisodeBuffer(
                id=seed,
                observations=np.stack(observations),
                actions=np.array(actions),
                rewards=np.array(rewards),
                terminations=np.array(ends),
                truncations=np.zeros(len(ends), bool),
            )
        )
    minari.create_dataset_from_buffers(
        "headway/walks-v0",
        buffers,
        env="headway/KeyToDoor-v0",
        observation_space=env.observation_space,
        action_space=env.action_space,
    )
    return "headway/walks-v0"
