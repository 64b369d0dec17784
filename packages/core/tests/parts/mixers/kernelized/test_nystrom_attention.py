"""Nyström attention: against the equations, transformers and the attention that it approximates."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import NystromAttention, SelfAttention
from headway.core.mixers.kernelized import nystrom_attention
from headway.core.mixers.softmax import scores
from headway.core.ops import attention

DIM, HEADS = 12, 2


def build(scale: float = 0.5, heads: int = HEADS, **options: Any) -> NystromAttention:
    torch.manual_seed(0)
    mixer = NystromAttention(DIM, heads, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return mixer


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, DIM, dtype=torch.float64)


def pseudo_inverse(matrix: Tensor, steps: int) -> Tensor:
    """Algorithm 1, line 5: the third-order iteration of equation 9."""
    one = torch.eye(len(matrix), dtype=matrix.dtype)
    found = matrix.T / (matrix.abs().sum(0).max() * matrix.abs().sum(1).max())
    for _ in range(steps):
        product = matrix @ found
        found = found @ (13 * one - product @ (15 * one - product @ (7 * one - product))) * 0.25
    return found


def by_the_equations(
    mixer: NystromAttention,
    x: Tensor,
    inverse: Callable[[Tensor, int], Tensor] = pseudo_inverse,
) -> Tensor:
    """One item (N, dim), head by head, with all matrices written out."""
    width, tokens = mixer.head_dim, len(x)
    parts = [part.split(width, dim=-1) for part in mixer.qkv(x).chunk(3, dim=-1)]
    length = -(-tokens // mixer.landmarks)
    out = []
    for head, (query, key, value) in enumerate(zip(*parts, strict=True)):
        query, key = query / width**0.25, key / width**0.25
        if tokens <= mixer.landmarks:
            mixed = (query @ key.T).softmax(-1) @ value
        else:
            marks = [torch.stack([s.mean(0) for s in p.split(length)]) for p in (query, key)]
            first = (query @ marks[1].T).softmax(-1)
            middle = (marks[0] @ marks[1].T).softmax(-1)
            last = (marks[0] @ key.T).softmax(-1)
            mixed = first @ inverse(middle, mixer.iterations) @ last @ value
        if mixer.conv is not None:
            kernel = mixer.conv.weight[head, 0, :, 0]
            reach = len(kernel) // 2
            around = nn.functional.pad(value, (0, 0, reach, reach))
            mixed = mixed + sum(
                kernel[step] * around[step : step + tokens] for step in range(len(kernel))
            )
        out.append(mixed)
    return mixer.projection(torch.cat(out, dim=-1))


def gradients(out: Tensor, wanted: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(out.square().sum(), wanted)


# Evenly, with a shorter last segment, with fewer segments than landmarks, with a landmark per token.
@pytest.mark.parametrize(("tokens", "landmarks"), [(12, 4), (14, 4), (9, 8), (8, 8), (5, 8)])
@pytest.mark.parametrize("conv", [None, 3])
def test_it_is_the_published_algorithm_with_its_gradients(
    tokens: int, landmarks: int, conv: int | None
) -> None:
    mixer = build(landmarks=landmarks, conv=conv)
    x = draw(tokens).requires_grad_()
    wanted = [x, *mixer.parameters()]
    ours, theirs = mixer(x[None])[0], by_the_equations(mixer, x)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients(ours, wanted), gradients(theirs, wanted))


def test_its_gradients_are_those_of_differences() -> None:
    mixer = build(landmarks=3, conv=3)
    assert torch.autograd.gradcheck(mixer, draw(1, 7).requires_grad_())


def test_after_enough_steps_the_inverse_is_the_pseudo_inverse() -> None:
    mixer = build(landmarks=4, iterations=30)
    x = draw(15)
    wanted = by_the_equations(mixer, x, lambda matrix, steps: torch.linalg.pinv(matrix))
    torch.testing.assert_close(mixer(x[None])[0], wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("conv", [None, 5])
@pytest.mark.parametrize("landmarks", [6, 24])
def test_it_is_that_of_transformers_with_its_weights(landmarks: int, conv: int | None) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.models.nystromformer.modeling_nystromformer import (
        NystromformerSelfAttention,
    )

    mixer = build(landmarks=landmarks, conv=conv)
    config = transformers.NystromformerConfig(
        hidden_size=DIM,
        num_attention_heads=HEADS,
        num_landmarks=landmarks,
        segment_means_seq_len=24,
        conv_kernel_size=conv or 1,
    )
    peer = NystromformerSelfAttention(config).double().eval()
    # Its configuration takes no None.
    peer.conv_kernel_size = conv
    # Its option for this cannot be set; "original" takes the largest norm of the batch for all.
    peer.init_option = "exact"
    with torch.no_grad():
        mixer.projection.weight.copy_(torch.eye(DIM))
        mixer.projection.bias.zero_()
        weights, biases = mixer.qkv.weight.chunk(3), mixer.qkv.bias.chunk(3)
        layers = (peer.query, peer.key, peer.value)
        for layer, weight, bias in zip(layers, weights, biases, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        if mixer.conv is not None:
            peer.conv.weight.copy_(mixer.conv.weight)
    x = draw(2, 24).requires_grad_()
    ours, theirs = mixer(x), peer(x)[0]
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients(ours, [x]), gradients(theirs, [x]))


def test_more_landmarks_are_nearer_to_softmax_attention_and_one_per_token_is_it() -> None:
    x = draw(2, 64).cumsum(1) / 8
    full = SelfAttention(DIM, HEADS).double()
    full.load_state_dict(build(0.3).state_dict())
    wanted = full(x)
    errors = []
    for landmarks in (1, 4, 16, 64):
        found = build(0.3, landmarks=landmarks, iterations=20)(x)
        errors.append(((found - wanted).norm() / wanted.norm()).item())
    assert all(later < 0.5 * one for one, later in itertools.pairwise(errors)), errors
    assert errors[-1] < 1e-12


def test_few_landmarks_make_few_directions_and_softmax_attention_makes_all() -> None:
    torch.manual_seed(0)
    x = draw(40)

    def directions(mixer: nn.Module) -> int:
        with torch.no_grad():
            mixer.projection.weight.copy_(torch.eye(DIM))
            mixer.projection.bias.zero_()
        return int(torch.linalg.matrix_rank(mixer(x[None])[0], rtol=1e-9))

    mixer = build(heads=1, landmarks=4)
    full = SelfAttention(DIM, 1).double()
    full.load_state_dict(mixer.state_dict())
    assert (directions(mixer), directions(full)) == (4, DIM)


def test_twice_the_tokens_are_twice_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    # The counter knows nothing of PyTorch's fused attention on the CPU; products it counts.
    for module in (nystrom_attention, scores):
        monkeypatch.setattr(module, "attention", partial(attention, backend="reference"))

    def growth(mixer: nn.Module) -> list[int]:
        work = []
        for tokens in (64, 128, 192):
            with FlopCounterMode(display=False) as counter:
                mixer(draw(1, tokens))
            work.append(counter.get_total_flops())
        return [after - before for before, after in itertools.pairwise(work)]

    first, second = growth(build(landmarks=4))
    assert first == second
    first, second = growth(SelfAttention(DIM, HEADS).double())
    assert second > 1.3 * first


def test_an_item_is_the_same_alone_in_any_padding_and_beside_any_other() -> None:
    mixer = build(landmarks=4, conv=3)
    counts = [3, 9, 14, 0]
    x = draw(4, 14)
    places = torch.arange(14)
    length = torch.tensor(counts)
    right = Layout(lengths=length)
    left = Layout(valid=places >= 14 - length[:, None])
    for layout in (right, left):
        real = layout.token_mask(14)
        assert real is not None
        given = x.masked_fill(~real[..., None], torch.nan).requires_grad_()
        out = mixer(given, layout)
        for row in range(4):
            shown = given[row][real[row]]
            if len(shown):
                torch.testing.assert_close(out[row][real[row]], mixer(shown[None])[0])
        found = gradients(out[real], [given, *mixer.parameters()])
        assert all(one.isfinite().all() for one in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 5}, "dim 12 cannot be divided among 5 heads"),
        ({"landmarks": 0}, "landmarks 0 and iterations 6 must be at least 1"),
        ({"iterations": 0}, "landmarks 64 and iterations 0 must be at least 1"),
        ({"conv": 4}, "conv must be odd and positive, got 4; use 5"),
        ({"conv": -4}, "conv must be odd and positive, got -4; use 1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        NystromAttention(DIM, **{"heads": HEADS, **options})
