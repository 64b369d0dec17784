"""Heads that talk: against the equations in loops, and what a head hears of the others."""

import pytest
import torch

from headway.core.layout import Layout
from headway.core.mixers import SelfAttention, TalkingHeadsAttention

DIM, HEADS, TOKENS = 12, 3, 5


def build(**options) -> TalkingHeadsAttention:
    torch.manual_seed(0)
    mixer = TalkingHeadsAttention(DIM, HEADS, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return mixer


def by_the_equations(mixer: TalkingHeadsAttention, x: torch.Tensor) -> torch.Tensor:
    """One item, one pair of heads at a time."""
    width = DIM // HEADS
    query, key, value = (
        part.unflatten(-1, (HEADS, width)) for part in mixer.qkv(x).chunk(3, dim=-1)
    )
    logits = [query[:, h] @ key[:, h].T / width**0.5 for h in range(HEADS)]
    talked = []
    for h in range(HEADS):
        heard = sum(mixer.mix_scores.weight[h, g] * logits[g] for g in range(HEADS))
        talked.append((heard + mixer.mix_scores.bias[h]).softmax(-1))
    out = []
    for h in range(HEADS):
        heard = sum(mixer.mix_weights.weight[h, g] * talked[g] for g in range(HEADS))
        out.append((heard + mixer.mix_weights.bias[h]) @ value[:, h])
    return mixer.projection(torch.cat(out, dim=-1))


@pytest.mark.parametrize("tokens", [1, 5, 7])
def test_it_is_the_published_equation_with_its_gradients(tokens: int) -> None:
    mixer = build()
    x = torch.randn(tokens, DIM, dtype=torch.float64, requires_grad=True)
    parameters = [x, *mixer.parameters()]
    ours, theirs = (
        (out, torch.autograd.grad(out.square().sum(), parameters))
        for out in (mixer(x[None])[0], by_the_equations(mixer, x))
    )
    torch.testing.assert_close(ours, theirs)


def test_a_head_hears_the_queries_of_another_and_plain_attention_does_not() -> None:
    width = DIM // HEADS
    x = torch.randn(1, TOKENS, DIM, dtype=torch.float64)
    for mixer, hears in ((build(), True), (SelfAttention(DIM, HEADS).double(), False)):
        seen = []
        with torch.no_grad():
            # Show the first head alone, then change the query of the last one.
            mixer.projection.weight[:, width:] = 0.0
            seen.append(mixer(x))
            mixer.qkv.weight[2 * width : 3 * width] += 1.0
            seen.append(mixer(x))
        assert torch.allclose(*seen) is not hears


def test_what_is_hidden_stays_hidden_behind_the_bias_of_the_mixture() -> None:
    mixer = build()
    x = torch.randn(2, TOKENS, DIM, dtype=torch.float64)
    x[0, 3:] = float("nan")
    padded = mixer(x, Layout(lengths=torch.tensor([3, TOKENS])))
    torch.testing.assert_close(padded[:1, :3], mixer(x[:1, :3]))
    mask = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    x = torch.randn(1, TOKENS, DIM, dtype=torch.float64)
    causal = build(causal=True)(x)
    torch.testing.assert_close(mixer(x, mask=mask), causal)
    torch.testing.assert_close(causal[:, :2], mixer(x[:, :2], mask=mask[:2, :2]))
