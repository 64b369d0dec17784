from pathlib import Path

import numpy as np
import pytest

from headway.rl.environments import KeyToDoor


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
