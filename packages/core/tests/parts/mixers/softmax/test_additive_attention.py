from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from headway.core.errors import UserError
from headway.core.mixers import AdditiveAttention


def build(dim: int = 8, heads: int = 2) -> AdditiveAttention:
    torch.manual_seed(0)
    mixer = AdditiveAttention(dim, heads).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return mixer


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def by_equations(mixer: AdditiveAttention, x: np.ndarray) -> np.ndarray:
    """One item (N, dim), token by token and head by head, as the paper writes it."""
    value = {name: p.detach().numpy() for name, p in mixer.named_parameters()}
    width, inner = mixer.head_dim, len(value["qk.weight"]) // 2
    both = x @ value["qk.weight"].T + value["qk.bias"]
    out = np.zeros((len(x), inner))
    for head in range(inner // width):
        place = slice(head * width, (head + 1) * width)
        q, k = both[:, :inner][:, place], both[:, inner:][:, place]
        alpha = softmax(q @ value["query_scores"][head] / width**0.5)
        p = (alpha @ q) * k
        beta = softmax(p @ value["key_scores"][head] / width**0.5)
        u = (beta @ p) * q
        out[:, place] = u @ value["transform.weight"].T + value["transform.bias"] + q
    return out @ value["projection.weight"].T + value["projection.bias"]


def test_it_is_the_equations_of_the_paper() -> None:
    mixer = build()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    for item, found in zip(x, mixer(x), strict=True):
        wanted = by_equations(mixer, item.numpy())
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-10)


def test_twice_the_tokens_are_twice_the_work() -> None:
    def work(mixer: Callable[[Tensor], Tensor], tokens: int) -> int:
        with FlopCounterMode(display=False) as counter:
            mixer(torch.randn(1, tokens, 8, dtype=torch.float64))
        return counter.get_total_flops()

    def pairwise(x: Tensor) -> Tensor:
        return (x @ x.mT).softmax(-1) @ x

    additive = build()
    assert work(additive, 64) == 2 * work(additive, 32)
    assert work(pairwise, 64) == 4 * work(pairwise, 32)


def test_the_order_of_the_tokens_plays_no_part() -> None:
    mixer = build()
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    order = torch.tensor([0, 3, 5, 1, 4, 2])
    torch.testing.assert_close(mixer(x[:, order]), mixer(x)[:, order])
    other = x.clone()
    other[:, 0] += 1
    assert not torch.allclose(mixer(other)[:, 1:], mixer(x)[:, 1:])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UserError, match="dim 8 cannot be divided among 3 heads"):
        AdditiveAttention(8, 3)
