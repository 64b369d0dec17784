from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import (
    ConvolutionMixer,
    CrossAttention,
    FactorizedAttention,
    FourierMixer,
    LinearAttention,
    PoolingMixer,
    SelfAttention,
    TokenMixer,
)
from headway.core.norms import RMSNorm
from headway.core.positions import ALiBi, RelativeBias, RelativeSinusoidal, RelativeVectors, Rotary

SEQUENCE = {
    "attention": SelfAttention,
    "grouped": partial(SelfAttention, kv_heads=1),
    "normed": partial(SelfAttention, norm=RMSNorm),
    "rotary": partial(SelfAttention, position=Rotary),
    "alibi": partial(SelfAttention, position=ALiBi),
    "relative": partial(SelfAttention, position=partial(RelativeBias, grid=(4,))),
    "pooling": PoolingMixer,
    "convolution": partial(ConvolutionMixer, axes=1, window=3),
}
CAUSAL = {
    "attention": partial(SelfAttention, causal=True),
    "grouped": partial(SelfAttention, causal=True, kv_heads=2),
    "rotary": partial(SelfAttention, causal=True, position=Rotary),
    "alibi": partial(SelfAttention, causal=True, position=ALiBi),
    "convolution": partial(ConvolutionMixer, axes=1, window=4, causal=True),
}


def build(factory, dim: int = 16, heads: int = 4):
    torch.manual_seed(0)
    mixer = factory(dim, heads).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return mixer


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("name", SEQUENCE)
def test_right_padding_changes_neither_outputs_nor_gradients(name: str, prefix: int) -> None:
    mixer = build(SEQUENCE[name])
    lengths = torch.tensor([3, 7, 5])
    x = torch.randn(3, 7, 16).double()
    padded = mixer(x, Layout(lengths=lengths, prefix=prefix))
    loss = sum(padded[i, :n].square().sum() for i, n in enumerate(lengths))
    alone = [mixer(x[i : i + 1, :n], Layout(prefix=prefix))[0] for i, n in enumerate(lengths)]
    for i, n in enumerate(lengths):
        torch.testing.assert_close(padded[i, :n], alone[i])
    parameters = list(mixer.parameters())
    if parameters:
        one = torch.autograd.grad(loss, parameters, allow_unused=True)
        two = torch.autograd.grad(
            sum(a.square().sum() for a in alone), parameters, allow_unused=True
        )
        for a, b in zip(one, two, strict=True):
            if a is not None:
                torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["attention", "rotary", "alibi", "pooling", "convolution"])
def test_left_padding_changes_no_output(name: str) -> None:
    mixer = build(SEQUENCE[name])
    x = torch.randn(2, 6, 16).double()
    valid = torch.tensor([[False, False, True, True, True, True], [True] * 6])
    padded = mixer(x, Layout(valid=valid))
    torch.testing.assert_close(padded[0, 2:], mixer(x[:1, 2:])[0])
    torch.testing.assert_close(padded[1], mixer(x[1:])[0])


@pytest.mark.parametrize("name", ["attention", "grouped", "rotary"])
def test_packed_items_equal_items_alone(name: str) -> None:
    mixer = build(SEQUENCE[name])
    x = torch.randn(1, 9, 16).double()
    packed = mixer(x, Layout(offsets=torch.tensor([0, 4, 9]), max_length=5))
    torch.testing.assert_close(packed[:, :4], mixer(x[:, :4]))
    torch.testing.assert_close(packed[:, 4:], mixer(x[:, 4:]))


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_mixer_never_looks_ahead(name: str) -> None:
    mixer = build(CAUSAL[name])
    x = torch.randn(1, 6, 16).double().requires_grad_()
    (gradient,) = torch.autograd.grad(mixer(x)[0, 2].sum(), x)
    assert gradient[0, 3:].abs().sum() == 0
    assert gradient[0, 2].abs().sum() > 0


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("chunks", [[1] * 6, [3, 1, 2], [6]])
def test_step_by_step_equals_the_full_pass(name: str, chunks: list[int]) -> None:
    mixer = build(CAUSAL[name])
    x = torch.randn(2, 6, 16).double()
    cache = mixer.init_cache(2, 6, dtype=torch.float64)
    parts = [mixer(part, cache=cache) for part in x.split(chunks, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), mixer(x))
    assert cache.lengths.tolist() == [6, 6]


@pytest.mark.parametrize("name", CAUSAL)
def test_rows_of_a_cache_that_were_reset_start_anew(name: str) -> None:
    mixer = build(CAUSAL[name])
    x = torch.randn(2, 5, 16).double()
    cache = mixer.init_cache(2, 8, dtype=torch.float64)
    mixer(x[:, :2], cache=cache)
    cache.reset(torch.tensor([1]))
    out = mixer(x[:, 2:], cache=cache)
    torch.testing.assert_close(out[0], mixer(x[:1])[0, 2:])
    torch.testing.assert_close(out[1], mixer(x[1:, 2:])[0])


@pytest.mark.parametrize("name", CAUSAL)
def test_a_padded_prompt_in_a_cache_equals_each_row_alone(name: str) -> None:
    mixer = build(CAUSAL[name])
    x, step = torch.randn(2, 4, 16).double(), torch.randn(2, 1, 16).double()
    cache = mixer.init_cache(2, 8, dtype=torch.float64)
    mixer(x, Layout(lengths=torch.tensor([2, 4])), cache=cache)
    out = mixer(step, cache=cache)
    torch.testing.assert_close(out[0, 0], mixer(torch.cat([x[:1, :2], step[:1]], 1))[0, -1])
    torch.testing.assert_close(out[1, 0], mixer(torch.cat([x[1:], step[1:]], 1))[0, -1])


def test_self_attention_equals_the_equations_of_the_paper() -> None:
    mixer = build(partial(SelfAttention, kv_heads=2))
    x = torch.randn(1, 5, 16).double()
    qkv = (x[0] @ mixer.qkv.weight.T + mixer.qkv.bias).detach().numpy()
    q, k, v = qkv[:, :16], qkv[:, 16:24], qkv[:, 24:]
    heads = []
    for head in range(4):
        own, shared = slice(4 * head, 4 * head + 4), slice(4 * (head // 2), 4 * (head // 2) + 4)
        scores = q[:, own] @ k[:, shared].T / 2.0
        weights = np.exp(scores - scores.max(1, keepdims=True))
        heads.append(weights / weights.sum(1, keepdims=True) @ v[:, shared])
    w, b = mixer.projection.weight.detach().numpy(), mixer.projection.bias.detach().numpy()
    np.testing.assert_allclose(
        mixer(x)[0].detach().numpy(), np.concatenate(heads, 1) @ w.T + b, atol=1e-10
    )


def test_merged_tokens_attract_attention_like_the_tokens_they_stand_for() -> None:
    mixer = build(SelfAttention)
    token, other = torch.randn(2, 1, 1, 16).double().unbind(0)
    doubled = mixer(torch.cat([token, token, other], 1))
    merged = mixer(torch.cat([token, other], 1), Layout(sizes=torch.tensor([[2.0, 1.0]]).double()))
    torch.testing.assert_close(merged[:, 0], doubled[:, 0])
    torch.testing.assert_close(merged[:, 1], doubled[:, 2])


def test_cross_attention_reads_the_context_and_only_its_real_tokens() -> None:
    mixer = build(partial(CrossAttention, context_dim=8))
    x, context = torch.randn(2, 3, 16).double(), torch.randn(2, 5, 8).double()
    full = mixer(x, context=context, context_layout=Layout(lengths=torch.tensor([2, 5])))
    torch.testing.assert_close(full[0], mixer(x[:1], context=context[:1, :2])[0])
    cache = mixer.init_cache(2, 0)
    torch.testing.assert_close(
        mixer(x[:, :1], context=context, cache=cache), mixer(x, context=context)[:, :1]
    )
    torch.testing.assert_close(mixer(x, cache=cache), mixer(x, context=context))


def test_cross_attention_to_a_packed_context() -> None:
    mixer = build(CrossAttention)
    x, context = torch.randn(1, 3, 16).double(), torch.randn(1, 7, 16).double()
    out = mixer(
        x,
        Layout(offsets=torch.tensor([0, 1, 3]), max_length=2),
        context=context,
        context_layout=Layout(offsets=torch.tensor([0, 4, 7]), max_length=4),
    )
    torch.testing.assert_close(out[:, :1], mixer(x[:, :1], context=context[:, :4]))
    torch.testing.assert_close(out[:, 1:], mixer(x[:, 1:], context=context[:, 4:]))


def test_fourier_is_the_real_part_of_the_transform_over_tokens_and_channels() -> None:
    x = torch.randn(2, 5, 6).double()
    np.testing.assert_allclose(FourierMixer(6)(x).numpy(), np.fft.fft2(x.numpy()).real, atol=1e-10)


def test_pooling_is_the_mean_of_the_neighbourhood_minus_the_token() -> None:
    x = torch.randn(1, 12, 2).double()
    out = PoolingMixer(2)(x, Layout(grid=(3, 4)))[0].reshape(3, 4, 2)
    picture = x[0].reshape(3, 4, 2)
    corner = picture[:2, :2].reshape(4, 2).mean(0) - picture[0, 0]
    inside = picture[0:3, 1:4].reshape(9, 2).mean(0) - picture[1, 2]
    torch.testing.assert_close(out[0, 0], corner)
    torch.testing.assert_close(out[1, 2], inside)


def test_a_convolution_is_local_and_depth_wise() -> None:
    mixer = build(partial(ConvolutionMixer, window=3))
    x = torch.randn(1, 25, 16).double().requires_grad_()
    out = mixer(x, Layout(grid=(5, 5)))
    (gradient,) = torch.autograd.grad(out[0, 12].sum(), x)
    touched = gradient[0].abs().sum(-1).reshape(5, 5) > 0
    assert touched.nonzero().tolist() == [[r, c] for r in (1, 2, 3) for c in (1, 2, 3)]


@pytest.mark.parametrize(
    ("mixer", "options", "named"),
    [
        (FourierMixer(8), {"layout": Layout(lengths=torch.tensor([2]))}, "FourierMixer does not support lengths"),
        (PoolingMixer(8), {"mask": torch.ones(1, 1, 3, 3).bool()}, "PoolingMixer does not support mask"),
        (SelfAttention(8, 2), {"context": torch.zeros(1, 3, 8)}, "SelfAttention does not support context"),
        (PoolingMixer(8), {"layout": Layout(offsets=torch.tensor([0, 3]), max_length=3)}, "offsets"),
    ],
)  # fmt: skip
def test_what_a_mixer_lacks_is_refused_by_name(mixer, options: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        mixer(torch.zeros(1, 3, 8), **options)


class ReadsABias(TokenMixer):
    supports: ClassVar[frozenset[str]] = frozenset({"prefix"})

    def mix(self, x: Tensor, layout: Layout, *, bias: Tensor | None) -> Tensor:
        return x if bias is None else x + bias


def test_a_mixer_takes_what_its_signature_names_and_nothing_else() -> None:
    x = torch.ones(1, 3, 4)
    assert ReadsABias.supports == {"prefix", "bias"}
    assert ReadsABias()(x, Layout(prefix=1), bias=x).equal(2 * x)
    with pytest.raises(UserError, match="does not support mask; it supports bias, prefix"):
        ReadsABias()(x, bias=x, mask=x > 0)
    assert type("Reads", (ReadsABias,), {"mix": PoolingMixer.mix}).supports == {"prefix"}


def test_what_mix_reads_cannot_be_declared_a_second_time() -> None:
    with pytest.raises(TypeError, match=r"\['cache'\].*signature of mix"):
        type("Wrong", (PoolingMixer,), {"supports": frozenset({"cache"})})


@pytest.mark.parametrize("position", [ALiBi, RelativeSinusoidal, RelativeVectors])
@pytest.mark.parametrize("mixer", [LinearAttention, FactorizedAttention])
def test_a_position_that_needs_scores_is_refused_where_there_are_none(mixer, position) -> None:
    with pytest.raises(UserError, match=f"{mixer.__name__} has no scores that {position.__name__}"):
        mixer(16, 4, position=position)
    assert mixer(16, 4, position=Rotary).position.only_rotates()


def test_wrong_heads_name_the_nearest_right_number() -> None:
    with pytest.raises(UserError, match="dim 48 cannot be divided among 5 heads; use (4|6) heads"):
        SelfAttention(48, 5)
    with pytest.raises(UserError, match="kv_heads 3 must divide heads 4"):
        SelfAttention(48, 4, kv_heads=3)


def test_a_row_that_may_attend_to_nothing_is_the_bias_of_the_projection() -> None:
    mixer = build(SelfAttention)
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    mask[..., 1, :] = False
    out = mixer(torch.randn(1, 3, 16).double(), mask=mask)
    torch.testing.assert_close(out[0, 1], mixer.projection.bias)
