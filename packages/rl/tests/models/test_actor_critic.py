"""IQL and TD3+BC: each loss reaches its own part, and mixed data teach more than cloning them does.

Official code was not run.
"""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.data import InMemoryTrajectories, Trajectory
from headway.rl.metrics import evaluate
from headway.rl.models import TD3BC, ActorCritic, ImplicitQLearning
from headway.rl.spaces import Box, Spaces

SPACES = Spaces(observation=Box(shape=(2,)), action=Box(shape=(2,), low=-1.0, high=1.0))
STEPS = 12
KINDS = pytest.mark.parametrize("kind", [ImplicitQLearning, TD3BC])


class Plane(gymnasium.Env):
    """A point that shall go to the middle; the reward is how near it is."""

    observation_space = gymnasium.spaces.Box(-4, 4, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.time = self.np_random.uniform(-1, 1, 2), 0
        return self.place.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.place = np.clip(self.place + 0.3 * np.asarray(action), -4, 4)
        self.time += 1
        reward = -float(np.linalg.norm(self.place))
        return self.place.astype(np.float32), reward, False, self.time == STEPS, {}


def mixed(seed: int, number: int = 150) -> InMemoryTrajectories:
    """Walks that go to the middle in one step of four, and anywhere in the others."""
    random, env, found = np.random.default_rng(seed), Plane(), []
    for _ in range(number):
        seen, taken, paid = [env.reset(seed=int(random.integers(2**31)))[0]], [], []
        for _ in range(STEPS):
            good = random.random() < 0.25
            action = np.clip(-seen[-1] / 0.3, -1, 1) if good else random.uniform(-1, 1, 2)
            observation, reward, *_ = env.step(action)
            seen.append(observation)
            taken.append(action)
            paid.append(reward)
        found.append(
            Trajectory(
                observations=np.stack(seen),
                actions=np.stack(taken).astype(np.float32),
                rewards=np.array(paid, np.float32),
                terminated=False,
            )
        )
    return InMemoryTrajectories(
        found,
        spaces=SPACES,
        next_observations=True,
        any_start=True,
        context_length=4,
        return_scale=1.0,
        batch_size=32,
        val=0,
    )


def some(batch_size: int = 8) -> Any:
    data = mixed(0, 8)
    data.setup()
    return data, data.collate([data.train_set[0] for _ in range(batch_size)])


@KINDS
def test_each_loss_reaches_its_own_part(kind: type[ActorCritic]) -> None:
    torch.manual_seed(0)
    model = kind(dim=16, spaces=SPACES.to_json())
    _, batch = some()
    parts = {"critic": "critics.", "value": "value."}
    for name, values in model.losses(batch).items():
        model.zero_grad()
        values.sum().backward()
        moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        own = parts.get(name, ("actor.", "observation_embedding.", "actions."))
        assert moved, name
        assert all(one.startswith(own) for one in moved), (name, moved)


@KINDS
def test_padding_is_not_learned_from_and_copies_follow(kind: type[ActorCritic]) -> None:
    torch.manual_seed(0)
    model = kind(dim=16, spaces=SPACES.to_json()).eval()
    _, batch = some()
    batch["mask"][:, 3:] = False
    wanted = model.loss(batch)["loss"]
    for name in ("observations", "actions", "rewards", "next_observations"):
        batch[name][:, 3:] = 7.0
    torch.testing.assert_close(model.loss(batch)["loss"], wanted)
    slow, fast = model.followed()[0]
    before = next(slow.parameters()).clone()
    with torch.no_grad():
        next(fast.parameters()).add_(1.0)
    model.follow()
    torch.testing.assert_close(next(slow.parameters()), before + model.target_rate)


@KINDS
def test_it_plays_from_its_folder_and_refuses_choices(kind: type[ActorCritic], tmp_path) -> None:
    data, batch = some()
    model = kind(dim=16)
    model.set_spaces(data.spaces.to_json())
    model.prepare(data.statistics())
    save_pretrained(model, tmp_path)
    seen = np.ones((3, 2), np.float32)
    wanted, state = model.policy().predict(seen)
    copy = from_pretrained(tmp_path)
    np.testing.assert_array_equal(copy.policy().predict(seen)[0], wanted)
    policy = model.policy()
    policy.observe(state, np.zeros(3))
    again, _ = policy.predict(seen[:2], policy.fork(state, np.array([2, 0])))
    np.testing.assert_allclose(again, wanted[:2], atol=1e-6)
    del batch["next_observations"]
    with pytest.raises(UserError, match="set the data's next_observations to true"):
        model.loss(batch)
    choices = {"observation": {"kind": "box", "shape": [2]}, "action": {"kind": "discrete", "n": 3}}
    with pytest.raises(UserError, match="learns actions that are numbers"):
        kind(dim=16, spaces=choices)
    with pytest.raises(UserError, match="discount is 0"):
        kind(dim=16, discount=0.0)


def learned(kind: type[ActorCritic], seed: int, **options: Any) -> float:
    """Mean return on new places, after 300 steps."""
    data = mixed(seed)
    data.setup()
    torch.manual_seed(seed)
    model = kind(dim=64, spaces=SPACES.to_json(), discount=0.9, target_rate=0.02, **options)
    model.prepare(data.statistics())
    whole: Any = data.collate([data.train_set[0] for _ in range(2000)])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(400):
        rows = torch.randint(2000, (64,))
        optimizer.zero_grad()
        model.loss({name: values[rows] for name, values in whole.items()})["loss"].backward()
        optimizer.step()
        model.follow()
    envs = SyncVectorEnv([Plane] * 50, autoreset_mode=AutoresetMode.DISABLED)
    return float(np.mean([one.total for one in evaluate(model, envs, episodes=50, seed=10**6)]))


@pytest.mark.learns
@pytest.mark.parametrize(
    ("kind", "plain", "options"),
    [
        (ImplicitQLearning, {"temperature": 0.0}, {"expectile": 0.9, "temperature": 5.0}),
        (TD3BC, {"alpha": 0.0}, {}),
    ],
    ids=["IQL", "TD3+BC"],
)
def test_mixed_data_teach_more_than_cloning_them(
    kind: type[ActorCritic], plain: Any, options: Any, seed: int, measured
) -> None:
    """How much higher the return is than with the same actor without critics, which clones the data.

    Returns of seed 0: IQL -0.78 where cloning has -3.42, TD3+BC -0.72 and -3.31. Least difference of
    seeds 0 to 4: IQL 2.18, TD3+BC 2.45.
    """
    found, cloned = learned(kind, seed, **options), learned(kind, seed, **plain)
    measured("better by", found - cloned, above=0.5)
