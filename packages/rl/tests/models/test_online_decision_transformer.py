"""Online decision transformer: its Gaussian, its entropy, and what its own tries teach it.

The authors' code may not be copied (CC BY-NC), and was not run.
"""

import math
from typing import Any

import gymnasium
import lightning
import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from headway.core.errors import UserError
from headway.core.training import AdamW
from headway.rl.data import InMemoryTrajectories, checked
from headway.rl.environments import make_vector
from headway.rl.layers import DiscreteActions, GaussianActions, Streams
from headway.rl.metrics import evaluate, summarise
from headway.rl.models import OnlineDecisionTransformer
from headway.rl.spaces import Box, Discrete, Spaces
from headway.rl.tasks import Trying

HILL = "headway-test/Hill-v0"
SPACES = Spaces(observation=Box(shape=(1,)), action=Box(shape=(1,), low=-1.0, high=1.0))
STEPS, TOP = 4, 0.7


class Hill(gymnasium.Env):
    """Four steps; each pays the more, the nearer the action is to the top."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        reward = -float(np.square(np.asarray(action) - TOP).sum())
        return np.zeros(1, np.float32), reward, False, self.time == STEPS, {}


if HILL not in gymnasium.registry:
    gymnasium.register(HILL, entry_point=Hill)


def of_the_foot(seed: int) -> InMemoryTrajectories:
    """Episodes whose actions lie far from the top."""
    random = np.random.default_rng(seed)
    actions = np.clip(random.normal(-0.5, 0.15, (100, STEPS, 1)), -1, 1).astype(np.float32)
    return InMemoryTrajectories(
        [
            checked(
                "walk",
                observations=np.zeros((STEPS + 1, 1), np.float32),
                actions=one,
                rewards=-np.square(one - TOP).sum(axis=1),
            )
            for one in actions
        ],
        spaces=SPACES,
        environment=HILL,
        context_length=STEPS,
        return_scale=1.0,
        batch_size=32,
        number=512,
        val=0,
    )


def test_its_density_is_that_of_a_gaussian_under_tanh() -> None:
    torch.manual_seed(0)
    head = GaussianActions(8, Box(shape=(3,), low=-2.0, high=6.0), entropy=-1.5, temperature=0.25)
    head.prepare(torch.zeros(4, 3))
    features = torch.randn(5, 4, 8)
    mean, log_std = head._gaussian(features)
    wanted = TransformedDistribution(Independent(Normal(mean, log_std.exp()), 1), [TanhTransform()])
    actions = torch.rand(5, 4, 3) * 6 - 1
    torch.manual_seed(1)
    found = head.loss(features, {"actions": actions})
    torch.manual_seed(1)
    inside = torch.tanh(mean + log_std.exp() * torch.randn_like(mean))
    entropy = -wanted.log_prob(inside)
    loss = -wanted.log_prob((actions - 2) / 4) - 0.25 * entropy + 0.25 * (entropy + 1.5)
    torch.testing.assert_close(found, loss, rtol=1e-3, atol=1e-3)
    streams = Streams([3, 4])
    torch.testing.assert_close(
        head.sample(features[:2, 0], streams),
        2 + 4 * torch.tanh(mean[:2, 0] + log_std[:2, 0].exp() * Streams([3, 4]).normal(3)),
    )
    torch.testing.assert_close(head.sample(features[:, 0]), head.predict(features[:, 0]))


def test_the_temperature_rises_while_there_is_too_little_entropy() -> None:
    torch.manual_seed(0)
    features, actions = torch.zeros(1, 64, 4), torch.zeros(1, 64, 2)
    for entropy, sign in ((5.0, -1), (-50.0, 1)):
        head = GaussianActions(4, 2, entropy=entropy)
        head.loss(features, {"actions": actions}).mean().backward()
        assert math.copysign(1, float(head.log_temperature.grad)) == sign
    with pytest.raises(UserError, match="temperature is 0; it must be positive"):
        GaussianActions(4, 2, temperature=0)


def test_an_action_at_its_bound_has_a_finite_loss() -> None:
    head = GaussianActions(4, Box(shape=(1,), low=-1.0, high=1.0))
    loss = head.loss(torch.randn(1, 2, 4), {"actions": torch.tensor([[[1.0], [-1.0]]])})
    loss.sum().backward()
    assert bool(loss.isfinite().all())
    assert bool(head.head.weight.grad.isfinite().all())


def test_choices_are_drawn_by_their_shares() -> None:
    spaces = Spaces(observation=Box(shape=(1,)), action=Discrete(n=3))
    model = OnlineDecisionTransformer(dim=16, depth=1, heads=2, spaces=spaces.to_json())
    assert isinstance(model.actions, DiscreteActions)


def play_after_training(rollouts: int, seed: int) -> float:
    """Returns the mean return after learning from the data, and from tries where there are some."""
    lightning.seed_everything(seed, verbose=False)
    model = OnlineDecisionTransformer(
        dim=32,
        depth=1,
        heads=2,
        context_length=STEPS,
        max_timestep=STEPS,
        dropout=0.0,
        spaces=SPACES.to_json(),
    )
    task = Trying(
        backbone=model,
        rollouts=rollouts,
        noise=0.0,
        tried_target=0.0,
        keep=200,
        optimizer=AdamW(lr=3e-3),
        environments=32,
    )
    trainer = lightning.Trainer(
        max_epochs=14,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(task, of_the_foot(seed))
    envs = make_vector(HILL, 16)
    try:
        played = evaluate(model.eval(), envs, target=0.0, episodes=16, seed=0)
    finally:
        envs.close()
    return summarise(played)["return_mean"]


@pytest.mark.learns
def test_its_own_tries_teach_it_more_than_the_data_did(seed: int, measured) -> None:
    gain = play_after_training(32, seed) - play_after_training(0, seed)
    measured("gain in return", gain, above=0.8)
