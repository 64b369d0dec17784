"""Episodes that are played and written as a Minari data set."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from headway.core.cli.main import main
from headway.core.weights import save_pretrained
from headway.rl.data import MinariData
from headway.rl.environments import make_vector, read_spaces
from headway.rl.metrics import evaluate
from headway.rl.models import DecisionTransformer, RandomPolicy, ScriptedPolicy

NAME = "headway/test/collected-v0"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def to_the_side_where_it_falls(observation: Any) -> int:
    return int(observation[2] > 0)


def collect(*words: str) -> int:
    return main(["collect", "--name", NAME, "--episodes", "5", *words])


def read() -> MinariData:
    data = MinariData(path=NAME, val=1)
    data.setup()
    return data


def totals(data: MinariData) -> list[float]:
    return sorted(one.total for part in data.parts.values() for one in part)


def test_chance_a_script_and_a_model_are_recorded(tmp_path: Path, capsys) -> None:
    env = ["--env", "CartPole-v1"]
    assert collect(*env, "--json", "--num-envs", "2") == 0
    said = json.loads(capsys.readouterr().out)
    data = read()
    assert data.environment == "CartPole-v1"
    assert said["steps"] == sum(totals(data))  # 1 for each step
    assert all(one.terminated for one in data.parts["train"])
    # Episodes are those of their seeds, however many run side by side.
    first = totals(data)
    assert collect(*env) == 2
    assert f"the data set {NAME} exists" in capsys.readouterr().err
    assert collect(*env, "--overwrite", "--num-envs", "5") == 0
    assert totals(read()) == first
    script = f"{__name__}:to_the_side_where_it_falls"
    assert collect(*env, "--overwrite", "--policy", script) == 0
    data = read()
    assert np.mean(totals(data)) > np.mean(first)
    for one in data.parts["train"]:
        assert (one.actions == (one.observations[:-1, 2] > 0)).all()
    model = DecisionTransformer(dim=16, depth=1, context_length=4, max_timestep=500)
    found = make_vector("CartPole-v1", 1)
    own = read_spaces(found.single_observation_space, found.single_action_space)
    model.set_spaces(own.to_json())
    save_pretrained(model, tmp_path / "model")
    words = ["--overwrite", "-m", str(tmp_path / "model"), "--target", "50", "--seed", "3"]
    assert collect(*env, *words) == 0
    played = evaluate(model, make_vector("CartPole-v1", 5), target=50, episodes=5, seed=3)
    assert totals(read()) == sorted(one.total for one in played)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--env", "Nowhere-v0"], "there is no environment Nowhere-v0"),
        (["--env", "CartPole-v1", "--name", "no version"], "is no name of a data set"),
        (["--env", "CartPole-v1", "--policy", "math"], "is no MODULE:NAME"),
        (["--env", "CartPole-v1", "--policy", "math:cosinus"], "cannot be imported"),
        (["--env", "CartPole-v1", "--policy", "math:pi"], "is no function"),
        (["--env", "CartPole-v1", "-m", "a", "--policy", "b:c"], "give one of them"),
        (["--env", "CartPole-v1", "-o", "x.csv"], "leave -o out"),
        (["--env", "CartPole-v1", "--episodes", "0"], "--episodes 0 is below 1"),
    ],
)
def test_wrong_use_is_one_line(words: list[str], said: str, capsys) -> None:
    assert collect(*words) == 2
    assert said in capsys.readouterr().err


def test_chance_draws_what_the_space_has() -> None:
    for space in (
        spaces.Box(-2, 3, (2, 3), np.float32),
        spaces.Box(np.array([0, -np.inf]), np.array([np.inf, np.inf]), dtype=np.float64),
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([2, 5], start=[1, 0]),
        spaces.MultiBinary(3),
    ):
        policy = RandomPolicy(read_spaces(spaces.Box(0, 1, (2,)), space))
        actions, state = policy.predict(np.zeros((400, 2)))
        typed = [np.asarray(one, space.dtype) for one in actions]
        assert all(space.contains(one if space.shape else one[()]) for one in typed)
        assert len({one.tobytes() for one in typed}) >= 3
        fork = policy.fork(state, np.array([3, 3]))
        again, _ = policy.predict(np.zeros((2, 2)), fork)
        more, _ = policy.predict(np.zeros((400, 2)), state)
        assert np.array_equal(again[0], more[3])
        assert np.array_equal(again[0], again[1])


class Nested(gymnasium.Env[Any, Any]):
    observation_space = spaces.Dict(
        {
            "arm": spaces.Dict({"left": spaces.Box(0, 9, (2,), np.float32)}),
            "step": spaces.Discrete(9),
        }
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return self._seen(), {}

    def step(self, action: int) -> Any:
        self.time += 1
        return self._seen(), 1.0, False, self.time == 3, {}

    def _seen(self) -> Any:
        return {"arm": {"left": np.full(2, self.time, np.float32)}, "step": np.int64(self.time)}


def test_named_observations_are_recorded_as_they_are_nested(capsys) -> None:
    gymnasium.register("headway/Nested-v0", f"{__name__}:Nested", disable_env_checker=True)
    try:
        assert collect("--env", "headway/Nested-v0", "--policy", f"{__name__}:left_if_even") == 0
        [one, *_] = read().parts["train"]
        assert set(one.observations) == {"arm/left", "step"}
        assert one.observations["arm/left"][:, 1].tolist() == [0, 1, 2, 3]
        assert one.observations["step"].tolist() == [0, 1, 2, 3]
        assert one.actions.tolist() == [0, 1, 0]
        assert not one.terminated
    finally:
        del gymnasium.registry["headway/Nested-v0"]


def left_if_even(observation: dict[str, Any]) -> int:
    return int(observation["step"]) % 2


def test_a_script_is_a_policy() -> None:
    policy = ScriptedPolicy(to_the_side_where_it_falls)
    found = evaluate(policy, make_vector("CartPole-v1", 2), episodes=4)
    assert min(one.total for one in found) > 20
