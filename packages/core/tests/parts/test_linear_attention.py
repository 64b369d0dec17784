from functools import partial

import pytest
import torch

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import EluPlusOne, LinearAttention, SelfAttention
from headway.core.ops import linear_attention
from headway.core.positions import ALiBi, Rotary


def dense(q, k, v, causal: bool, mask=None):
    weights = q @ k.mT
    if causal:
        weights = weights.tril()
    if mask is not None:
        weights = weights.masked_fill(~mask[:, None, None, :], 0.0)
    total = weights.sum(-1, keepdim=True)
    return (weights / torch.where(total > 0, total, 1.0)) @ v


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tokens", [1, 7, 64, 131])
def test_the_op_equals_its_dense_form(causal: bool, tokens: int) -> None:
    torch.manual_seed(0)
    q, k = (torch.rand(2, 3, tokens, 4).double().requires_grad_() for _ in range(2))
    v = torch.randn(2, 3, tokens, 5).double().requires_grad_()
    got, _ = linear_attention(q, k, v, causal=causal)
    want = dense(q, k, v, causal)
    torch.testing.assert_close(got, want)
    weight = torch.randn_like(got)
    for a, b in zip(
        torch.autograd.grad((got * weight).sum(), (q, k, v)),
        torch.autograd.grad((want * weight).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("causal", [False, True])
def test_masked_keys_change_nothing_even_as_nan(causal: bool) -> None:
    torch.manual_seed(1)
    q, k, v = (torch.rand(2, 1, 9, 4).double() for _ in range(3))
    mask = torch.rand(2, 9) > 0.4
    mask[0] = False
    want = dense(q, k, v, causal, mask)
    for x in (k, v):
        x.masked_fill_(~mask[:, None, :, None], float("nan"))
    got, _ = linear_attention(q, k, v, causal=causal, mask=mask)
    torch.testing.assert_close(got, want)
    assert bool((got[0] == 0).all())


def test_sums_of_half_precision_are_kept_in_float32() -> None:
    torch.manual_seed(2)
    q, k, v = (torch.rand(1, 1, 3000, 8) for _ in range(3))
    want = dense(q.double(), k.double(), v.double(), True)
    got, state = linear_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), causal=True)
    assert got.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    torch.testing.assert_close(got.double(), want, atol=6e-3, rtol=1e-2)


def test_a_state_needs_causal() -> None:
    q = torch.rand(1, 1, 3, 2)
    _, state = linear_attention(q, q, q, causal=True)
    with pytest.raises(UserError, match="causal=True"):
        linear_attention(q, q, q, state=state)


def test_step_by_step_equals_all_at_once_and_rows_restart() -> None:
    torch.manual_seed(3)
    mixer = LinearAttention(16, 2, causal=True, position=Rotary).double()
    x = torch.randn(3, 10, 16).double()
    full = mixer(x)
    cache = mixer.init_cache(3, 10)
    first = mixer(x[:, :4], Layout(lengths=torch.tensor([4, 2, 3])), cache=cache)
    torch.testing.assert_close(first[0], full[0, :4])
    torch.testing.assert_close(first[1, :2], full[1, :2])
    assert cache.lengths.tolist() == [4, 2, 3]
    # Each row goes on behind its own last token.
    step = torch.stack([x[0, 4], x[1, 2], x[2, 3]])[:, None]
    torch.testing.assert_close(
        mixer(step, cache=cache)[:, 0], torch.stack([full[0, 4], full[1, 2], full[2, 3]])
    )
    cache.reset(torch.tensor([1]))
    again = mixer(torch.stack([x[0, 5], x[1, 0], x[2, 4]])[:, None], cache=cache)
    torch.testing.assert_close(again[:, 0], torch.stack([full[0, 5], full[1, 0], full[2, 4]]))


def test_the_state_does_not_grow_and_weights_are_those_of_the_feature_map() -> None:
    torch.manual_seed(4)
    mixer = LinearAttention(8, 1, causal=True).double()
    assert mixer.init_cache(2, 5).state.shape == mixer.init_cache(2, 5000).state.shape
    x = torch.randn(1, 6, 8).double()
    q, k, v = mixer.qkv(x).chunk(3, dim=-1)
    features = EluPlusOne()
    want = mixer.projection(dense(features(q), features(k), v, True))
    torch.testing.assert_close(mixer(x), want)
    # Softmax attention with the same weights is something else.
    softmax = SelfAttention(8, 1, causal=True).double()
    softmax.load_state_dict(mixer.state_dict())
    assert (softmax(x) - mixer(x)).abs().max() > 1e-3


def test_merged_tokens_count_as_often_as_what_they_stand_for() -> None:
    torch.manual_seed(5)
    mixer = LinearAttention(8, 2).double()
    x = torch.randn(1, 3, 8).double()
    twice = mixer(torch.cat([x, x[:, 2:]], dim=1))[:, :3]
    merged = mixer(x, Layout(sizes=torch.tensor([[1.0, 1.0, 2.0]])))
    torch.testing.assert_close(merged, twice)


def test_a_bias_of_positions_is_refused() -> None:
    with pytest.raises(UserError, match="use a rotation"):
        LinearAttention(8, 2, position=ALiBi)(torch.randn(1, 3, 8))


@pytest.mark.parametrize("window", [0, 2, 5])
def test_a_window_hides_what_is_further_back(window: int) -> None:
    torch.manual_seed(6)
    mixer = partial(SelfAttention, causal=True, window=window, position=Rotary)(16, 2).double()
    x = torch.randn(2, 9, 16).double()
    full = mixer(x)
    changed = x.clone()
    changed[:, 3] += 1
    moved = (mixer(changed) - full).abs().amax(dim=(0, 2)) > 1e-9
    assert moved.tolist() == [3 <= place <= 3 + window for place in range(9)]
    cache = mixer.init_cache(2, 9)
    steps = torch.cat([mixer(x[:, t : t + 1], cache=cache) for t in range(9)], dim=1)
    torch.testing.assert_close(steps, full)
