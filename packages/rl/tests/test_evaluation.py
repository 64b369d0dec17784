import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from headway.core.errors import UserError
from headway.rl.environments import make_vector
from headway.rl.layers import DiscreteActions
from headway.rl.metrics import evaluate, summarise
from headway.rl.models import DecisionTransformer


def model(observation_dim: int = 8, action_dim: int = 4, **options) -> DecisionTransformer:
    torch.manual_seed(0)
    return DecisionTransformer(
        observation_dim=observation_dim,
        action_dim=action_dim,
        dim=16,
        depth=1,
        heads=2,
        context_length=21,
        max_timestep=21,
        **{"actions": DiscreteActions, **options},
    ).eval()


def test_an_episode_depends_on_its_seed_and_not_on_how_many_run_beside_it() -> None:
    found = []
    for number in (1, 3, 7):
        envs = make_vector("CartPole-v1", number)
        found.append(evaluate(model(4, 2), envs, target=1.0, episodes=7, seed=5))
    assert found[0] == found[1] == found[2]
    assert [one.number for one in found[0]] == list(range(7))
    assert len({one.steps for one in found[0]}) > 1


def test_rewards_and_lengths_are_those_of_the_environment() -> None:
    envs = make_vector("CartPole-v1", 2)
    found = evaluate(model(4, 2), envs, target=500.0, episodes=6)
    for one in found:
        assert one.total == one.steps  # CartPole pays 1 for each step
        assert one.terminated
    told = summarise(found)
    assert told["return_mean"] == pytest.approx(np.mean([one.total for one in found]))


def test_continuous_actions_stay_inside_the_space() -> None:
    from headway.rl.layers import ContinuousActions

    envs = make_vector("Pendulum-v1", 2)
    big = model(3, 1, actions=ContinuousActions)
    big.actions.bounded = False
    with torch.no_grad():
        big.actions.head.bias.fill_(100.0)
    big.context_length = 5  # episodes outgrow the context
    found = evaluate(big, envs, target=0.0, episodes=2)
    assert all(one.steps == 200 and not one.terminated for one in found)


def test_choices_are_played_from_where_their_space_starts() -> None:
    taken: list[int] = []

    class Counted(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (8,), np.float32)
        action_space = gymnasium.spaces.Discrete(4, start=3)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.left = 5
            return self.np_random.uniform(-1, 1, 8).astype(np.float32), {}

        def step(self, action):
            assert self.action_space.contains(action)
            taken.append(int(action))
            self.left -= 1
            seen = self.np_random.uniform(-1, 1, 8).astype(np.float32)
            return seen, float(action == 5), self.left == 0, False, {}

    envs = SyncVectorEnv([Counted] * 2, autoreset_mode=AutoresetMode.DISABLED)
    policy = model()
    with torch.no_grad():
        policy.actions.head.bias[2] = 100.0
    found = evaluate(policy, envs, target=1.0, episodes=4)
    assert {one.total for one in found} == {5.0}
    assert set(taken) == {5}


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_another_environment_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"trained on .*; it is another"):
        evaluate(model(), make_vector(name, 1), target=0.0, episodes=1)
