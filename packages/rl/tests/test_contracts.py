"""Observations and actions of every kind, all the way: data, training, checkpoint, play."""

import copy
from pathlib import Path
from typing import Any

import gymnasium
import lightning
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from safetensors.torch import load_file, save_file

from headway.core.errors import InputError, UserError
from headway.core.finetune import LoRA, load_adapter, save_adapter
from headway.core.training import AdamW
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.data import InMemoryTrajectories, checked
from headway.rl.data.fitting import fitting_actions, fitting_observations
from headway.rl.environments import named, read_spaces
from headway.rl.layers import DiscreteActions, Streams
from headway.rl.metrics import evaluate
from headway.rl.models import BehaviourCloning, DecisionTransformer
from headway.rl.spaces import Box, Dict, Discrete, MultiDiscrete, Spaces
from headway.rl.tasks import Imitation

STEPS = 6
PICTURE = spaces.Box(0, 255, (9, 8, 3), np.uint8)
VECTOR = spaces.Box(-1, 1, (3,), np.float32)
SEEN = {
    "vector": VECTOR,
    "double": spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    "picture": PICTURE,
    "choice": spaces.Discrete(4, start=-2),
    "choices": spaces.MultiDiscrete([3, 2], start=[1, 5]),
    "switches": spaces.MultiBinary(3),
    "dict": spaces.Dict({"camera": spaces.Dict({"left": PICTURE}), "arm": VECTOR}),
    "tuple": spaces.Tuple([VECTOR, spaces.Tuple([spaces.Discrete(3), VECTOR])]),
}
DONE = {
    "numbers": spaces.Box(-2, 3, (2,), np.float32),
    "one number": spaces.Box(-2, 2, (1,), np.float64),
    "table": spaces.Box(-1, 1, (2, 3), np.float32),
    "half bounded": spaces.Box(np.array([-1, -np.inf]), np.array([1, np.inf]), dtype=np.float32),
    "choice": spaces.Discrete(3),
    "choice from 1": spaces.Discrete(3, start=1),
    "negative choice": spaces.Discrete(3, start=-2),
    "choices": spaces.MultiDiscrete([3, 2], start=[1, -1]),
    "switches": spaces.MultiBinary(2),
}


class World(gymnasium.Env[Any, Any]):
    """Shows and takes what it is told to; an episode lasts a few steps, and pays for what was drawn."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        # Each environment draws from spaces of its own.
        self.observation_space, self.action_space = copy.deepcopy((observation, action))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.time, self.length = 0, 3 + int(self.np_random.integers(STEPS - 3))
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.time += 1
        pay = float(np.sum(action)) * self.np_random.random()
        return self.observation_space.sample(), pay, self.time == self.length, False, {}


def recorded(world: World, number: int = 8) -> InMemoryTrajectories:
    """Episodes of somebody who acts at random."""
    world.action_space.seed(0)
    found = read_spaces(world.observation_space, world.action_space)
    episodes = []
    for seed in range(number):
        seen, taken, paid, ended = [named(world.reset(seed=seed)[0])], [], [], False
        while not ended:
            taken.append(world.action_space.sample())
            observation, reward, ended, _, _ = world.step(taken[-1])
            seen.append(named(observation))
            paid.append(reward)
        rows = (
            {key: np.stack([one[key] for one in seen]) for key in seen[0]}
            if isinstance(seen[0], dict)
            else np.stack(seen)
        )
        name = f"episode {seed}"
        episodes.append(
            checked(
                name,
                observations=fitting_observations(name, rows, found.observation),
                actions=fitting_actions(name, np.array(taken), found.action),
                rewards=np.array(paid),
            )
        )
    return InMemoryTrajectories(
        episodes, spaces=found, context_length=4, batch_size=4, val=2, number=8
    )


def side_by_side(world: World, number: int, mode: AutoresetMode = AutoresetMode.DISABLED) -> Any:
    make = lambda: World(world.observation_space, world.action_space)  # noqa: E731
    return SyncVectorEnv([make] * number, autoreset_mode=mode)


def small(kind: Any = DecisionTransformer, **options: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"dim": 16, "depth": 1, "heads": 2, "context_length": 4, "max_timestep": STEPS}
    return kind(**sizes, dropout=0.0, **options)


def trained(model: Any, data: InMemoryTrajectories, folder: Path) -> Any:
    lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    ).fit(Imitation(backbone=model, optimizer=AdamW(lr=1e-3)), data)
    return model.eval()


CASES = [(seen, "choice") for seen in SEEN] + [("vector", done) for done in DONE]


@pytest.mark.parametrize(("seen", "done"), CASES)
def test_every_kind_is_learned_saved_and_played(seen: str, done: str, tmp_path: Path) -> None:
    world = World(SEEN[seen], DONE[done])
    model = trained(small(), recorded(world), tmp_path)
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(tmp_path / "model").eval()
    assert again.spaces == read_spaces(world.observation_space, world.action_space)
    played = [
        evaluate(one, side_by_side(world, number), target=1.0, episodes=5, deterministic=False)
        for one, number in ((model, 1), (model, 3), (again, 5))
    ]
    # What is drawn belongs to the episode, not to the row or to how many run beside it.
    for other in played[1:]:
        assert [one.steps for one in other] == [one.steps for one in played[0]]
        totals = [one.total for one in played[0]]
        assert [one.total for one in other] == pytest.approx(totals, abs=1e-4)


@pytest.mark.parametrize(
    ("seen", "done", "said"),
    [
        (spaces.Text(5), DONE["choice"], "is nothing that a model reads"),
        (VECTOR, spaces.Dict({"arm": VECTOR}), "actions of .* are several by name"),
        (VECTOR, spaces.MultiBinary([2, 2]), "switches of .* have 2 axes"),
        (spaces.Sequence(VECTOR), DONE["choice"], "is nothing that a model reads"),
    ],
)
def test_what_no_model_reads_is_one_line(seen: Any, done: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_spaces(seen, done)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_environments_may_reset_themselves(mode: AutoresetMode) -> None:
    """Lengths, returns and starts are those of the episodes, whatever a step that only resets brings."""

    class Steps(gymnasium.Env[Any, Any]):
        observation_space = spaces.Box(0, 10, (1,), np.float32)
        action_space = spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.time = 0
            return np.zeros(1, np.float32), {}

        def step(self, action: Any) -> Any:
            self.time += 1
            return np.full(1, self.time, np.float32), 2.0, self.time == 3, False, {}

    class Watching:
        spaces = None

        def __init__(self) -> None:
            self.seen: list[tuple[float, bool]] = []

        def predict(self, observation, state=None, episode_start=None, *rest, **options):
            self.seen += zip(observation[:, 0].tolist(), episode_start.tolist(), strict=True)
            return np.zeros(len(observation), int), None

        def observe(self, state, reward) -> None: ...

        def fork(self, state, rows): ...

    policy = Watching()
    envs = SyncVectorEnv([Steps] * 2, autoreset_mode=mode)
    found = evaluate(policy, envs, episodes=6)
    assert [(one.number, one.total, one.steps) for one in found] == [(k, 6.0, 3) for k in range(6)]
    # An episode begins where the environment shows its first observation, and nowhere else.
    assert all((seen == 0) == start for seen, start in policy.seen)


def test_a_fork_goes_its_own_way() -> None:
    model = small(observation_dim=3, action_dim=4, actions=DiscreteActions).eval()
    policy = model.policy(target_return=1.0)
    random = np.random.default_rng(0)
    seen = [random.normal(size=(2, 3)).astype(np.float32) for _ in range(7)]
    state = None
    for one in seen[:2]:
        _, state = policy.predict(one, state, deterministic=False)
    fork = policy.fork(state, np.array([1, 1, 0]))
    later = []
    for one in seen[2:]:
        copied, fork = policy.predict(one[[1, 1, 0]], fork, deterministic=False)
        actions, state = policy.predict(one, state, deterministic=False)
        later.append(actions)
        assert copied.tolist() == actions[[1, 1, 0]].tolist()
    assert len({tuple(one) for one in later}) > 1
    policy.observe(fork, np.array([1.0, 2.0, 3.0]))
    assert state.wanted.tolist() == [1.0, 1.0]


def test_streams_draw_by_shares_and_alike_on_any_row() -> None:
    streams = Streams(range(4000))
    shares = torch.tensor([0.1, 0.0, 0.6, 0.3]).expand(4000, -1)
    drawn = streams.choose(shares).bincount(minlength=4) / 4000
    torch.testing.assert_close(drawn, shares[0], atol=0.03, rtol=0)
    assert drawn[1] == 0
    one, many = Streams([7]), Streams([3, 7])
    assert torch.equal(one.normal(2, 3)[0], many.normal(2, 3)[1])
    other = many.select([1])
    assert torch.equal(other.uniform(5)[0], many.uniform(5)[1])


def test_spaces_survive_json_and_say_what_is_wrong() -> None:
    for seen in SEEN.values():
        for done in DONE.values():
            made = read_spaces(seen, done)
            assert Spaces.from_json(made.to_json()) == made
    half = read_spaces(VECTOR, DONE["half bounded"]).action
    assert half == Box(shape=(2,), low=(-1.0, None), high=(1.0, None))
    good = read_spaces(VECTOR, DONE["choice"]).to_json()
    for wrong, said in (
        ({"kind": "sphere"}, "a space has a kind"),
        ({"kind": "discrete", "n": 0}, "whole numbers from 1"),
        ({"kind": "discrete", "m": 3}, "is no discrete space"),
        ({"kind": "box", "shape": [2], "low": [1.0]}, "1 bounds of 2"),
        ({"kind": "multi_discrete", "n": [2, 2], "start": [0]}, "1 starts of 2"),
        (3, "a space has a kind"),
    ):
        with pytest.raises(UserError, match=said):
            Spaces.from_json({**good, "action": wrong})
    with pytest.raises(UserError, match="an observation and an action"):
        Spaces.from_json({"action": good["action"]})


@pytest.mark.parametrize(
    ("actions", "space", "said"),
    [
        (np.array([0, 3]), Discrete(n=3), r"action 3 at step 1; there are 3, from 0"),
        (np.array([[1, 1], [0, 2]]), MultiDiscrete(n=(2, 2), start=(0, 0)), "action 2 at step 1"),
        (np.zeros((2, 3)), Box(shape=(2,)), r"actions of \(3,\), the space has \(2,\)"),
        (np.zeros(2), Discrete(n=3), "choices are whole numbers"),
        (np.zeros((2, 2), int), Discrete(n=3), r"actions of \(2,\), the space has \(\)"),
    ],
)
def test_actions_that_the_space_does_not_have(actions: Any, space: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        fitting_actions("episode 0", actions, space)
    column = np.array([[1], [2]])
    assert fitting_actions("x", column, Discrete(n=2, start=1)).tolist() == [1, 2]


def test_parts_of_observations_that_are_missing_are_named() -> None:
    space = Dict(parts={"a": Box(shape=(2,)), "b": Discrete(n=2)})
    with pytest.raises(InputError, match=r"has observations \['a'\], expected \['a', 'b'\]"):
        fitting_observations("x", {"a": np.zeros((3, 2))}, space)
    model = small(spaces=Spaces(observation=space, action=Discrete(n=2)).to_json()).eval()
    with pytest.raises(UserError, match="observation 'b' is missing"):
        model.policy().predict({"a": np.zeros((1, 2))})


def test_checkpoints_from_before_observations_had_an_encoder(tmp_path: Path) -> None:
    model = small(observation_dim=3, action_dim=2).eval()
    model.set_statistics(torch.ones(3), torch.full((3,), 2.0), 4.0)
    save_pretrained(model, tmp_path)
    names = {new: old for old, new in model.renamed.items()}
    file = tmp_path / "model.safetensors"
    old = {names.get(name, name): x for name, x in load_file(file).items()}
    assert {"observation_mean", "observation_embedding.weight"} <= set(old)
    save_file(old, file)
    again = from_pretrained(tmp_path)
    assert all(torch.equal(x, again.state_dict()[n]) for n, x in model.state_dict().items())
    # So does a run that goes on: Lightning calls load_state_dict.
    fresh = small(observation_dim=3, action_dim=2)
    fresh.load_state_dict(old)
    assert fresh.observation_std.tolist() == [2, 2, 2]


def test_adapters_from_before_observations_had_an_encoder(tmp_path: Path) -> None:
    def base() -> DecisionTransformer:
        return small(observation_dim=3, action_dim=2).eval()

    tuned = base()
    LoRA(rank=2).apply(tuned)
    tuned.set_observation_dim(5)
    tuned.set_statistics(torch.ones(5), torch.full((5,), 2.0), 4.0)
    save_adapter(tuned, tmp_path)
    names = {new: old for old, new in tuned.renamed.items()}
    file = tmp_path / "adapter.safetensors"
    old = {names.get(name, name): x for name, x in load_file(file).items()}
    assert {"observation_mean", "observation_embedding.weight"} <= set(old)
    save_file(old, file)
    again = load_adapter(base(), tmp_path)
    assert again.observation_mean.tolist() == [1] * 5
    steps = torch.arange(4)[None]
    given = (torch.randn(1, 4, 5), torch.randn(1, 4, 2), torch.randn(1, 4), steps)
    torch.testing.assert_close(again(*given), tuned(*given))


def test_returns_may_have_an_axis_of_their_own() -> None:
    model = small(observation_dim=3, action_dim=2).eval()
    steps = torch.arange(4)[None]
    given = (torch.randn(1, 4, 3), torch.randn(1, 4, 2), torch.randn(1, 4), steps)
    wide = (*given[:2], given[2][..., None], steps)
    assert torch.equal(model(*given), model(*wide))


def test_a_cloned_policy_reads_named_parts_and_ignores_others() -> None:
    space = Dict(parts={"arm": Box(shape=(3,))})
    model = small(
        BehaviourCloning, spaces=Spaces(observation=space, action=Discrete(n=3)).to_json()
    )
    envs = side_by_side(World(SEEN["dict"], DONE["choice"]), 2)
    assert len(evaluate(model, envs, episodes=2)) == 2
