"""Scores that travel from layer to layer."""

import pytest
import torch
from torch.func import functional_call

from headway.core.cache import KeyValueCache, ScoreCache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import (
    PoolingMixer,
    ScoreResidualAttention,
    SelfAttention,
)
from headway.core.mixers.softmax import score_residual_attention
from headway.core.mixers.softmax.score_residual_attention import shared_scores
from headway.core.stacks import Encoder


def scores_of(mixer: SelfAttention, x: torch.Tensor) -> torch.Tensor:
    query, key, _ = (
        part.unflatten(-1, (mixer.heads, -1)).transpose(1, 2) for part in mixer.qkv(x).chunk(3, -1)
    )
    return query @ key.transpose(-2, -1) * mixer.head_dim**-0.5


def test_scores_are_added_before_the_softmax_and_handed_on() -> None:
    torch.manual_seed(0)
    first, second = (ScoreResidualAttention(8, 2).double() for _ in range(2))
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    memory = ScoreCache(2)
    y = first(x, cache=memory)
    plain = SelfAttention(8, 2).double()
    plain.load_state_dict(first.state_dict())
    torch.testing.assert_close(y, plain(x))
    torch.testing.assert_close(memory.scores(), scores_of(first, x))
    plain.load_state_dict(second.state_dict())
    torch.testing.assert_close(second(y, cache=memory), plain(y, bias=scores_of(first, x)))
    torch.testing.assert_close(memory.scores(), scores_of(first, x) + scores_of(second, y))


@pytest.mark.parametrize("widest", [256, 8, 4])
def test_joined_queries_and_keys_give_the_published_sum_of_scores(monkeypatch, widest) -> None:
    monkeypatch.setattr(score_residual_attention, "WIDEST", widest)
    torch.manual_seed(0)
    stack = Encoder(8, 4, 2, mixer=ScoreResidualAttention).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, 1, 5, 5, dtype=torch.float64)
    memory = shared_scores(stack, 2)
    found = stack(x, cache=memory, bias=bias)[0]

    # By hand: plain attention, with the scores of all layers before as a bias.
    hidden, before = x, bias
    for block in stack.blocks:
        tokens, mixer = block.mixer.norm(hidden), block.mixer.function
        plain = SelfAttention(8, 2).double()
        weights = dict(mixer.named_parameters())
        hidden = hidden + functional_call(plain, weights, (tokens,), {"bias": before})
        before = before + bias + scores_of(mixer, tokens)
        hidden = hidden + block.feedforward.function(block.feedforward.norm(hidden))
    torch.testing.assert_close(found, stack.norm(hidden))
    weights = [x, *stack.parameters()]
    gradients = torch.autograd.grad(found.square().sum(), weights)
    wanted = torch.autograd.grad(stack.norm(hidden).square().sum(), weights)
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_in_a_stack_they_travel_for_one_pass() -> None:
    torch.manual_seed(0)
    stack = Encoder(8, 3, 2, mixer=ScoreResidualAttention).eval()
    x = torch.randn(2, 5, 8)
    together = stack(x, cache=shared_scores(stack, 2))[0]
    assert (together - stack(x)[0]).abs().max() > 1e-4
    torch.testing.assert_close(together, stack(x, cache=shared_scores(stack, 2))[0])
    assert shared_scores(Encoder(8, 2, 2, mixer=PoolingMixer), 2) is None


def test_an_item_in_a_padded_batch_equals_the_item_alone() -> None:
    torch.manual_seed(0)
    stack = Encoder(8, 2, 2, mixer=ScoreResidualAttention).eval()
    x = torch.randn(2, 7, 8)
    x[1, 4:] = torch.nan
    layout = Layout(lengths=torch.tensor([7, 4]))
    padded = stack(x, layout, cache=shared_scores(stack, 2))[0]
    alone = stack(x[1:, :4], cache=shared_scores(stack, 1))[0]
    torch.testing.assert_close(padded[1:, :4], alone, atol=1e-5, rtol=1e-5)


def test_what_cannot_work_is_refused() -> None:
    x = torch.randn(1, 3, 8)
    keys = KeyValueCache(batch=1, heads=2, max_length=4, head_dim=4)
    with pytest.raises(UserError, match="keeps scores in a ScoreCache, got KeyValueCache"):
        ScoreResidualAttention(8, 2)(x, cache=keys)
    with pytest.raises(UserError, match="without causal"):
        ScoreResidualAttention(8, 2, causal=True)(x, cache=ScoreCache(1))
    with pytest.raises(UserError, match="row by row"):
        ScoreCache(2).reset(torch.tensor([0]))
