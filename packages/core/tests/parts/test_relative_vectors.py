"""Learned vectors for relative places, against the equations of the paper, pair by pair."""

from functools import partial

import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import RelativeVectors

DIM, HEADS, WIDTH, REACH = 8, 2, 4, 2


def mixer(**options) -> SelfAttention:
    torch.manual_seed(0)
    position = partial(RelativeVectors, reach=REACH, **options.pop("position", {}))
    built = SelfAttention(DIM, HEADS, position=position, **options).double()
    for table in built.position.parameters():
        torch.nn.init.normal_(table)
    return built


def by_the_paper(mixer: SelfAttention, x: Tensor, *, prefix: int = 0) -> Tensor:
    """Eq. 3 and 4 of the paper, one query after the other."""
    tokens, position = x.shape[1], mixer.position
    query, key, value = (
        part.unflatten(-1, (HEADS, WIDTH)) for part in mixer.qkv(x).chunk(3, dim=-1)
    )
    out = torch.zeros(1, tokens, HEADS, WIDTH, dtype=x.dtype)
    nothing = torch.zeros(WIDTH, dtype=x.dtype)

    def row(table: Tensor, i: int, j: int) -> Tensor:
        return nothing if min(i, j) < prefix else table[max(-REACH, min(REACH, j - i)) + REACH]

    for head in range(HEADS):
        for i in range(tokens):
            keys = [key[0, j, head] + row(position.key_table, i, j) for j in range(tokens)]
            scores = torch.stack([query[0, i, head] @ k for k in keys]) / WIDTH**0.5
            weights = scores.softmax(dim=0)
            for j in range(tokens):
                added = row(position.value_table, i, j) if position.adds_values else nothing
                out[0, i, head] += weights[j] * (value[0, j, head] + added)
    return mixer.projection(out.flatten(2))


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("values", [True, False])
def test_it_is_what_the_paper_says(values: bool, prefix: int) -> None:
    attention = mixer(position={"values": values})
    x = torch.randn(1, 7, DIM, dtype=torch.float64, requires_grad=True)
    layout = Layout(prefix=prefix)
    out, expected = attention(x, layout), by_the_paper(attention, x, prefix=prefix)
    torch.testing.assert_close(out, expected)
    given = [x, *attention.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad(out.square().sum(), given),
        torch.autograd.grad(expected.square().sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_values_alone_tell_the_order_where_all_keys_are_alike() -> None:
    """With the same token everywhere, attention without vectors for values answers the same everywhere."""
    x = torch.randn(1, 1, DIM, dtype=torch.float64).expand(1, 5, DIM)
    plain, placed = mixer(position={"values": False})(x), mixer()(x)
    torch.testing.assert_close(plain, plain[:, :1].expand_as(plain))
    assert (placed[:, 0] - placed[:, 2]).abs().max() > 0.1


def test_beyond_the_reach_all_places_are_alike() -> None:
    attention = mixer()
    x = torch.randn(1, 9, DIM, dtype=torch.float64)
    swapped = x[:, [0, 1, 2, 3, 4, 5, 6, 8, 7]]
    torch.testing.assert_close(attention(x)[:, 0], attention(swapped)[:, 0])
    near = x[:, [0, 2, 1, 3, 4, 5, 6, 7, 8]]
    assert (attention(x)[:, 0] - attention(near)[:, 0]).abs().max() > 1e-3


def test_grids_and_a_negative_reach_are_refused() -> None:
    with pytest.raises(UserError, match="positions with 2 coordinates; use RelativeBias or Rotary"):
        mixer()(torch.zeros(1, 4, DIM, dtype=torch.float64), Layout(grid=(2, 2)))
    with pytest.raises(UserError, match="reach is -1"):
        RelativeVectors(1, 4, reach=-1)
