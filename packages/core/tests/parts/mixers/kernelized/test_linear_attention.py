from functools import partial

import pytest
import torch
from torch.nn import Identity, LayerNorm, SiLU

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import (
    EluPlusOne,
    FixedDecay,
    GeneralizedRandomFeatures,
    LearnedDecay,
    LinearAttention,
    RandomFeatures,
    ReLUFeatures,
    ScaledFeatures,
    SelfAttention,
)
from headway.core.norms import RMSNorm
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


KINDS = {
    "plain": {},
    "rotary": {"position": Rotary},
    "relu": {"feature_map": ReLUFeatures},
    "random": {"feature_map": partial(RandomFeatures, features=11)},
    "generalized": {"feature_map": partial(GeneralizedRandomFeatures, features=11)},
    "retention": {"decay": FixedDecay, "norm": LayerNorm},
    "gated": {"decay": LearnedDecay, "norm": LayerNorm},
    "gated-linear": {
        "feature_map": ScaledFeatures,
        "decay": LearnedDecay,
        "norm": RMSNorm,
        "gate": SiLU,
    },
    "gated-per-head": {"decay": partial(LearnedDecay, per_head=True, temperature=1.0)},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_step_by_step_equals_all_at_once_and_rows_restart(options: dict[str, object]) -> None:
    torch.manual_seed(3)
    mixer = LinearAttention(16, 2, causal=True, **options).double()  # pyright: ignore
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
    features = EluPlusOne(8)
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


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_an_item_alone_is_the_item_in_a_padded_batch(options: dict[str, object]) -> None:
    torch.manual_seed(7)
    mixer = LinearAttention(16, 2, causal=True, **options).double()  # pyright: ignore
    x = torch.randn(2, 9, 16).double().requires_grad_()
    out = mixer(x, Layout(lengths=torch.tensor([9, 4])))
    (grad,) = torch.autograd.grad(out[1, :4].sin().sum(), x)
    alone = mixer(x[1:, :4])
    torch.testing.assert_close(out[1, :4], alone[0])
    (wanted,) = torch.autograd.grad(alone.sin().sum(), x)
    torch.testing.assert_close(grad, wanted)


def test_retention_forgets_by_a_constant_factor_per_token_and_head() -> None:
    torch.manual_seed(8)
    mixer = LinearAttention(8, 2, causal=True, decay=FixedDecay, norm=Identity).double()
    x = torch.randn(1, 6, 8).double()
    q, k, v = (y.unflatten(-1, (2, 4)).transpose(1, 2) for y in mixer.qkv(x).chunk(3, dim=-1))
    ages = torch.arange(6)[:, None] - torch.arange(6)
    left = torch.tensor([31 / 32, 63 / 64]).double()[:, None, None] ** ages
    features = EluPlusOne(4)
    out = (features(q) @ features(k).mT * left).tril() @ v
    wanted = mixer.projection(out.transpose(1, 2).flatten(2))
    # The constants are kept in float32.
    torch.testing.assert_close(mixer(x), wanted, rtol=1e-5, atol=1e-6)


def test_a_gate_that_closes_forgets_what_was_before() -> None:
    torch.manual_seed(9)
    mixer = LinearAttention(8, 2, causal=True, decay=partial(LearnedDecay, temperature=1.0))
    gate = mixer.decay
    assert isinstance(gate, LearnedDecay)
    torch.nn.init.constant_(gate.up.bias, -40.0)
    torch.nn.init.zeros_(gate.up.weight)
    x = torch.randn(1, 5, 8)
    # Each token sees its own value alone.
    value = mixer.qkv(x).chunk(3, dim=-1)[2]
    torch.testing.assert_close(mixer(x), mixer.projection(value))
    torch.nn.init.constant_(gate.up.bias, 40.0)
    plain = LinearAttention(8, 2, causal=True)
    plain.load_state_dict(mixer.state_dict(), strict=False)
    torch.testing.assert_close(mixer(x), plain(x))


@pytest.mark.parametrize("temperature", [1.0, 4.0, 16.0])
def test_the_temperature_of_a_gate_divides_its_logarithm(temperature: float) -> None:
    torch.manual_seed(10)
    gate = LearnedDecay(8, 2, 4, temperature=temperature)
    x = torch.randn(2, 5, 8)
    share = torch.sigmoid(gate.up(gate.down(x))).unflatten(-1, (2, 4)).transpose(1, 2)
    torch.testing.assert_close(gate(x).exp(), share ** (1 / temperature))
    # What is given to a mixer reaches its sums: two tokens, one of which is forgotten by that much.
    mixer = LinearAttention(8, 2, causal=True, norm=Identity, decay=lambda *_: gate)
    q, k, v = (y.unflatten(-1, (2, 4)).transpose(1, 2) for y in mixer.qkv(x).chunk(3, dim=-1))
    features, left = EluPlusOne(4), gate(x)[:, :, 1].exp()
    queries, keys = features(q)[:, :, 1], features(k)
    state = (left * keys[:, :, 0])[..., None] * v[:, :, 0, None] + (
        keys[:, :, 1, :, None] * v[:, :, 1, None]
    )
    second = (queries[..., None, :] @ state)[..., 0, :].flatten(1)
    torch.testing.assert_close(mixer(x)[:, 1], mixer.projection(second))


def test_a_decay_needs_causal() -> None:
    with pytest.raises(UserError, match="needs causal=True"):
        LinearAttention(8, 2, decay=FixedDecay)


def gated_linear_step_by_step(mixer: LinearAttention, x: torch.Tensor) -> torch.Tensor:
    """Returns gated linear attention as the paper writes it: S = diag(a) S + k v, o = norm(q S) gated."""
    assert isinstance(mixer.decay, LearnedDecay)
    assert mixer.norm is not None
    assert mixer.gate is not None
    heads, width = mixer.heads, mixer.head_dim
    q, k, v = (y.unflatten(-1, (heads, width)) for y in mixer.qkv(x).chunk(3, dim=-1))
    left = torch.sigmoid(mixer.decay.up(mixer.decay.down(x))) ** (1 / mixer.decay.temperature)
    left = left.unflatten(-1, (heads, width))
    state = x.new_zeros(len(x), heads, width, width)
    found = []
    for place in range(x.shape[1]):
        state = left[:, place, :, :, None] * state
        state = state + k[:, place, :, :, None] * v[:, place, :, None]
        found.append((q[:, place, :, None] @ state)[:, :, 0] * width**-0.5)
    read = mixer.norm(torch.stack(found, 1)).flatten(2)
    gate = mixer.gate(x)
    return mixer.projection(read * gate * torch.sigmoid(gate))


@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_gated_linear_attention_is_its_recurrence_at_once_and_by_chunks(backend: str) -> None:
    torch.manual_seed(11)
    mixer = LinearAttention(12, 2, causal=True, **KINDS["gated-linear"]).double()  # pyright: ignore
    x = torch.randn(2, 37, 12).double().requires_grad_()
    wanted = gated_linear_step_by_step(mixer, x)
    torch.testing.assert_close(mixer(x), wanted)
    q, k, v = (y.unflatten(-1, (2, 6)).transpose(1, 2) for y in mixer.qkv(x).chunk(3, dim=-1))
    assert mixer.decay is not None
    assert mixer.norm is not None
    assert mixer.gate is not None
    options = {"causal": True, "normalize": False, "backend": backend}
    found, _ = linear_attention(q * 6**-0.5, k, v, log_decay=mixer.decay(x), **options)
    read = mixer.norm(found).transpose(1, 2).flatten(2)
    found = mixer.projection(read * torch.nn.functional.silu(mixer.gate(x)))
    torch.testing.assert_close(found, wanted)
    for one, other in zip(
        torch.autograd.grad(found.sin().sum(), [x, *mixer.parameters()]),
        torch.autograd.grad(wanted.sin().sum(), [x, *mixer.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_features_that_may_be_negative_need_a_norm() -> None:
    with pytest.raises(UserError, match="give norm"):
        LinearAttention(8, 2, causal=True, feature_map=ScaledFeatures)
