"""Models that stream: what they do step by step is what one pass over the whole episode says."""

from functools import partial

import numpy as np
import pytest
import torch

from headway.core.cache import KeyValueCache
from headway.core.mixers import (
    ConvolutionMixer,
    DiagonalStateSpace,
    FixedDecay,
    InterleavedConvolution,
    LegendreMemory,
    LinearAttention,
    SelectiveScan,
    SelfAttention,
)
from headway.core.norms import RMSNorm
from headway.core.positions import ALiBi, Rotary
from headway.rl.layers import DiscreteActions
from headway.rl.models import BehaviourCloning, DecisionTransformer, SequencePolicy

window = partial(SelfAttention, causal=True, window=(7, 0))
MIXERS = {
    "interleaved": partial(InterleavedConvolution, kinds=3, window=7),
    "attention": partial(SelfAttention, causal=True),
    "window": window,
    "rotary": partial(window, position=Rotary),
    "alibi": partial(window, position=ALiBi),
    "convolution": partial(ConvolutionMixer, axes=1, window=6, causal=True),
    "linear": partial(LinearAttention, causal=True),
    "decay": partial(LinearAttention, causal=True, decay=FixedDecay, norm=RMSNorm),
    "scan": partial(SelectiveScan, states=4),
    "s4d": partial(DiagonalStateSpace, states=4),
    "legendre": partial(LegendreMemory, order=4, window=6),
    "hybrid": [window, partial(SelectiveScan, states=4)],
}


def build(mixer, kind=DecisionTransformer, **options):
    torch.manual_seed(0)
    options = {"observation_dim": 5, "action_dim": 2, "streaming": True, **options}
    model = kind(
        dim=16, depth=2, heads=2, context_length=4, max_timestep=40, mixer=mixer, **options
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def play(model, steps: int, ends: float):
    """Yields actions and all that led to them, of three environments that begin anew at random."""
    policy, random = SequencePolicy(model, target_return=7.0), np.random.default_rng(0)
    episodes: list[list] = [[], [], []]
    state, start, wanted = None, np.ones(3, bool), np.full(3, 7.0)
    for _ in range(steps):
        for row in np.flatnonzero(start):
            episodes[row], wanted[row] = [], 7.0
        seen = random.standard_normal((3, 5)).astype(np.float32)
        actions, state = policy.predict(seen, state, start)
        for row in range(3):
            episodes[row].append((seen[row], actions[row], wanted[row]))
        yield actions, episodes, state
        reward = random.standard_normal(3)
        policy.observe(state, reward)
        wanted, start = wanted - reward, random.random(3) < ends


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("kind", [DecisionTransformer, BehaviourCloning])
def test_a_step_is_that_of_one_pass_over_the_episode(kind, name: str) -> None:
    """Episodes of up to 30 steps, eight times as far as a window reaches."""
    model, longest = build(MIXERS[name], kind), 0
    for actions, episodes, _ in play(model, 40, 0.04):
        for row, episode in enumerate(episodes):
            seen, taken, wanted = (
                torch.tensor(np.stack(part), dtype=torch.float32)[None]
                for part in zip(*episode, strict=True)
            )
            taken[:, -1] = 0.0
            with torch.no_grad():
                want = model(seen, taken, wanted, torch.arange(len(episode))[None])[0, -1]
            np.testing.assert_allclose(actions[row], want.numpy(), atol=2e-4)
            longest = max(longest, len(episode))
    assert longest > 25


@pytest.mark.parametrize(
    "name", ["window", "convolution", "interleaved", "linear", "decay", "scan", "legendre"]
)
def test_what_is_remembered_does_not_grow_and_no_step_is_the_last(name: str) -> None:
    model, sizes = build(MIXERS[name]), []
    for step, (_, _, state) in enumerate(play(model, 100, 0.0)):
        assert state.tokens is None
        if step > 10:
            mixers = [one for block in state.cache for one in block]
            buffers = [one.keys if isinstance(one, KeyValueCache) else one.state for one in mixers]
            sizes.append(sum(buffer.numel() for buffer in buffers))
    assert len(set(sizes)) == 1


def test_a_forked_stream_goes_its_own_way_from_where_it_was() -> None:
    model = build(window, actions=DiscreteActions, action_dim=3)
    policy, random = SequencePolicy(model, target_return=1.0), np.random.default_rng(0)
    seen = random.standard_normal((12, 2, 5)).astype(np.float32)
    state = None
    for one in seen[:6]:
        _, state = policy.predict(one, state, deterministic=False)
    other = policy.fork(state, np.array([1, 0]))
    for one in seen[6:]:
        chosen, state = policy.predict(one, state, deterministic=False)
        forked, other = policy.predict(one[::-1].copy(), other, deterministic=False)
        assert chosen.tolist() == forked[::-1].tolist()
