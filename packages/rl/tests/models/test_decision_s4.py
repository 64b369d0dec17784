"""Decision S4: play as a recurrence, its cost, and what its states remember.

Official code was not looked for; nothing was compared.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from headway.core.mixers import ConvolutionMixer
from headway.rl.data import TMazeData
from headway.rl.environments import make_vector
from headway.rl.metrics import evaluate
from headway.rl.models import DecisionS4, DecisionTransformer


def build(kind: Any = DecisionS4, **options: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"observation_dim": 5, "action_dim": 2, "dim": 16, "depth": 2, "context_length": 8}
    model = kind(**{**sizes, "max_timestep": 40, "dropout": 0.0, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@torch.no_grad()
def test_play_is_one_pass_over_the_episode() -> None:
    """Three environments that begin anew at different times, beyond the context of training."""
    model = build()
    policy, random = model.policy(target_return=7.0), np.random.default_rng(0)
    episodes: list[list[Any]] = [[], [], []]
    state, start, wanted, longest = None, np.ones(3, bool), np.full(3, 7.0), 0
    for _ in range(40):
        for row in np.flatnonzero(start):
            episodes[row], wanted[row] = [], 7.0
        seen = random.standard_normal((3, 5)).astype(np.float32)
        actions, state = policy.predict(seen, state, start)
        for row, episode in enumerate(episodes):
            episode.append((seen[row], actions[row], wanted[row]))
            parts = [
                torch.tensor(np.stack(part), dtype=torch.float32)[None]
                for part in zip(*episode, strict=True)
            ]
            want = model(*parts, torch.arange(len(episode))[None])[0, -1]
            np.testing.assert_allclose(actions[row], want.numpy(), atol=2e-4)
            longest = max(longest, len(episode))
        reward = random.standard_normal(3)
        policy.observe(state, reward)
        wanted, start = wanted - reward, random.random(3) < 0.05
    assert longest > 16


def test_a_step_reads_the_action_before_it_and_not_its_own() -> None:
    model = build()
    drawn = [torch.randn(1, 6, *shape) for shape in ((5,), (2,), ())]
    drawn[1].requires_grad_()
    (gradient,) = torch.autograd.grad(model(*drawn, torch.arange(6)[None])[:, 3].sum(), drawn[1])
    # Transforms leave rounding where nothing is.
    assert (gradient[0].abs().amax(dim=1) > 1e-5).nonzero()[:, 0].tolist() == [0, 1, 2]


def test_memory_has_a_fixed_size_and_weights_are_fewer() -> None:
    """Against a decision transformer of the same width and depth, whose cache grows with the episode."""

    def sizes(model: Any) -> tuple[int, int]:
        kept = []
        for steps in (40, 400):
            model.max_timestep = model.context_length = steps
            caches = [cache for block in model.init_cache(1) for cache in block]
            parts = [vars(cache).get("state", vars(cache).get("keys")) for cache in caches]
            kept.append(sum(part.numel() for part in parts))
        return kept[1] - kept[0], sum(p.numel() for p in model.decoder.parameters())

    ours, theirs = (sizes(build(kind, dim=64)) for kind in (DecisionS4, DecisionTransformer))
    assert ours[0] == 0 < theirs[0]
    assert ours[1] < 0.5 * theirs[1]


@pytest.mark.learns
@pytest.mark.parametrize("remembers", [True, False], ids=["as it is", "short filters"])
def test_the_cue_is_known_at_the_end_of_a_corridor(
    remembers: bool, seed: int, train, measured
) -> None:
    """Share of right turns after 20 steps; half by chance, which is what filters of six steps know.

    Seeds 1 to 4: 1.0; short filters .41 to .59.
    """
    plain = partial(ConvolutionMixer, axes=1, window=6, causal=True)
    torch.manual_seed(seed)
    mixers = {} if remembers else {"mixer": plain}
    model = DecisionS4(
        **{"dim": 32, "depth": 2, "context_length": 20, "max_timestep": 20, "dropout": 0.0},
        **mixers,
    )
    data = TMazeData(lengths=[20], episodes=200, data_seed=seed, val=4)
    train(model, data, steps=200, rate=4e-3)
    found = evaluate(
        model, make_vector("headway/TMaze20-v0", 25), target=1, episodes=100, seed=1000
    )
    bound = {"above": 0.9} if remembers else {"below": 0.7}
    measured("share", np.mean([one.total for one in found]), **bound)
