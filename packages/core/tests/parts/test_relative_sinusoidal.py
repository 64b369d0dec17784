from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import RelativeSinusoidal, Rotary
from headway.core.positions.sinusoidal import sinusoids

HEADS, WIDTH = 3, 4


def build(factory=RelativeSinusoidal) -> SelfAttention:
    torch.manual_seed(0)
    mixer = SelfAttention(HEADS * WIDTH, HEADS, position=factory).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return mixer


def shifted(position: RelativeSinusoidal, query: Tensor, keys: int) -> Tensor:
    """The second term as the paper computes it (appendix B): all distances, then a shift of the rows."""
    tokens = query.shape[2]
    distances = torch.arange(keys - 1, -keys, -1).double()[:, None]
    table = position.relative(sinusoids(distances, HEADS * WIDTH).to(query.dtype))
    table = table.unflatten(-1, (HEADS, WIDTH)).transpose(0, 1)  # (H, 2S - 1, D)
    scores = (query + position.place_bias[:, None]) @ table.mT
    rows = [scores[:, :, i, keys - 1 - i : 2 * keys - 1 - i] for i in range(tokens)]
    return torch.stack(rows, dim=2)


def reference(mixer: SelfAttention, x: Tensor) -> Tensor:
    """Attention with the scores of the paper's equation (d), written out."""
    position: RelativeSinusoidal = mixer.position  # pyright: ignore
    query, key, value = mixer._split(x)
    content = (query + position.content_bias[:, None]) @ key.mT
    scores = (content + shifted(position, query, x.shape[1])) * WIDTH**-0.5
    return mixer.projection((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_attention_equals_the_equation_of_the_paper_with_gradients(tokens: int) -> None:
    mixer = build()
    x = torch.randn(2, tokens, HEADS * WIDTH).double().requires_grad_()
    inputs = [x, *mixer.parameters()]
    seed = torch.randn(2, tokens, HEADS * WIDTH).double()
    # float32 angles of `sinusoids` are the difference.
    ours, theirs = mixer(x), reference(mixer, x)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    pairs = [torch.autograd.grad(out, inputs, seed) for out in (ours, theirs)]
    for one, two in zip(*pairs, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_a_rotation_in_its_place_does_not_obey_the_equation() -> None:
    mixer, other = build(), build(Rotary)
    x = torch.randn(1, 6, HEADS * WIDTH).double()
    other.load_state_dict(mixer.state_dict(), strict=False)
    assert not torch.allclose(other(x), reference(mixer, x), atol=1e-2)


def product(spec: dict[str, Tensor]) -> Tensor:
    return spec["relative_query"] @ spec["relative_key"].mT


def test_scores_know_the_direction_and_only_the_difference_of_places() -> None:
    position = RelativeSinusoidal(HEADS, WIDTH).double()
    query = torch.randn(1, HEADS, 1, WIDTH).double().expand(1, HEADS, 5, WIDTH)
    places = torch.tensor([0.0, 1.5, 4.0, 9.0, 20.0])[None, :, None]
    bias = product(position.bias_spec(query, places, places))
    moved = product(position.bias_spec(query, places + 3000.25, places + 3000.25))
    torch.testing.assert_close(bias, moved, atol=1e-9, rtol=1e-9)
    assert not torch.allclose(bias, bias.mT, atol=1e-3)


@pytest.mark.parametrize("tokens", [1, 7])
def test_keys_by_distance_say_the_same_in_gradients_too(tokens: int) -> None:
    from headway.core.ops import attention

    position: RelativeSinusoidal = build().position  # pyright: ignore
    inputs = [torch.randn(2, HEADS, tokens, WIDTH).double().requires_grad_() for _ in range(3)]
    query, key, value = inputs
    places = torch.arange(tokens).double()[None, :, None] + 5.0
    specs = (position.bias_spec(query, places, places), position.distance_spec(query, tokens))
    assert specs[1].keys() == {"relative_query", "distance_key"}
    outs = [attention(query, key, value, **spec) for spec in specs]
    torch.testing.assert_close(*outs)
    leaves = [*inputs, position.relative.weight, position.place_bias]
    seed = torch.randn_like(outs[0])
    for one, two in zip(*(torch.autograd.grad(x, leaves, seed) for x in outs), strict=True):
        torch.testing.assert_close(one, two)


LAYOUTS = {
    "plain": (Layout, True),
    "lengths": (lambda: Layout(lengths=torch.tensor([5, 7])), True),
    "line": (lambda: Layout(grid=(7,)), True),
    "prefix": (lambda: Layout(prefix=1), False),
    "left-padded": (lambda: Layout(valid=torch.ones(2, 7, dtype=torch.bool)), False),
    "moved": (lambda: Layout(positions=torch.zeros(1, 7, 1)), False),
}


@pytest.mark.parametrize(("layout", "by_distance"), LAYOUTS.values(), ids=LAYOUTS)
def test_on_a_gpu_tokens_in_order_are_given_by_distance(
    layout: Callable[[], Layout], by_distance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    from headway.core.mixers.softmax import self_attention

    seen: list[dict[str, object]] = []

    def attend(
        mixer: SelfAttention,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        dropout: float,
        options: dict[str, object],
        values: object,
    ) -> Tensor:
        seen.append(options)
        return query

    monkeypatch.setattr(self_attention, "attend", attend)
    with FakeTensorMode(), torch.device("cuda"):
        mixer = SelfAttention(HEADS * WIDTH, HEADS, position=RelativeSinusoidal)
        mixer(torch.empty(2, 7, HEADS * WIDTH), layout())
    assert ("distance_key" in seen[0]) == by_distance
    assert ("relative_key" in seen[0]) != by_distance


def test_padding_on_either_side_changes_nothing() -> None:
    mixer = build()
    x = torch.randn(1, 9, HEADS * WIDTH).double()
    alone = mixer(x[:, :5])
    right = mixer(x, Layout(lengths=torch.tensor([5])))
    torch.testing.assert_close(right[:, :5], alone)
    left = torch.cat([x[:, 5:], x[:, :5]], dim=1)
    valid = torch.tensor([[False] * 4 + [True] * 5])
    torch.testing.assert_close(mixer(left, Layout(valid=valid))[:, 4:], alone)


def test_prefix_tokens_have_no_place() -> None:
    position = RelativeSinusoidal(HEADS, WIDTH)
    query, places = torch.randn(1, HEADS, 4, WIDTH), torch.arange(4.0)[None, :, None]
    bias = product(position.bias_spec(query, places, places, prefix=1))
    assert bias[:, :, 0].abs().max() == bias[:, :, :, 0].abs().max() == 0
    assert bias[:, :, 1:, 1:].abs().min() > 0


def test_an_odd_width_and_a_picture_are_refused() -> None:
    with pytest.raises(UserError, match="heads \\* head_dim is 9.*even"):
        RelativeSinusoidal(3, 3)
    picture = partial(SelfAttention, position=RelativeSinusoidal)(8, 2)
    with pytest.raises(UserError, match="for sequences, got positions with 2 coordinates"):
        picture(torch.randn(1, 4, 8), Layout(grid=(2, 2)))
