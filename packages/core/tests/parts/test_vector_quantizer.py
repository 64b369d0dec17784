"""Words for vectors: the nearest one, means that follow, and no word left unused."""

import pytest
import torch

from headway.core.errors import UserError
from headway.core.vector_quantizer import VectorQuantizer


def clusters(number: int, count: int = 512) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    middles = 4 * torch.randn(number, 3, generator=generator)
    noise = 0.05 * torch.randn(count, 3, generator=generator)
    return middles[torch.randint(number, (count,), generator=generator)] + noise


def test_it_gives_the_nearest_word_and_passes_the_gradient_on() -> None:
    layer = VectorQuantizer(5, words=7).eval()
    x = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    layer = layer.double()
    found = layer(x)
    wanted = torch.cdist(x.detach().flatten(0, 1), layer.words).argmin(dim=1).view(2, 4)
    assert torch.equal(found.codes, wanted)
    torch.testing.assert_close(found.vectors.detach(), layer.vectors(wanted))
    gradient = torch.randn(2, 4, 5, dtype=torch.float64)
    (back,) = torch.autograd.grad(found.vectors, x, gradient, retain_graph=True)
    assert torch.equal(back, gradient)
    (back,) = torch.autograd.grad(found.loss, x)
    torch.testing.assert_close(back, 2 * 0.25 * (x - found.vectors).detach() / x.numel())


def test_words_become_the_means_of_clusters() -> None:
    torch.manual_seed(0)
    x = clusters(8)
    layer = VectorQuantizer(3, words=32, decay=0.9)
    for _ in range(60):
        layer(x)
    assert (layer.eval()(x).vectors - x).square().mean().sqrt() < 0.06
    before = layer.words.clone()
    layer(x + 1)
    assert torch.equal(layer.words, before)  # in evaluation nothing moves


@pytest.mark.parametrize("least", [0.03, 0.0])
def test_words_that_nobody_chooses_are_chosen_anew(least: float) -> None:
    """All words but one lie far away: without the mechanism that one stays the only one."""
    torch.manual_seed(0)
    layer = VectorQuantizer(3, words=32, decay=0.9, least=least)
    layer.words.fill_(1e3)
    layer.words[0] = 0.0
    layer.counts.fill_(1.0)
    layer.sums.copy_(layer.words)
    x = torch.randn(512, 3)
    for _ in range(50):
        layer(x)
    used = layer.eval()(x).codes.unique().numel()
    assert used == 32 if least else used == 1


def test_codes_stay_when_all_is_said() -> None:
    """Eight places, 32 words: the words that are left over do not take the places of others."""
    torch.manual_seed(0)
    middles = torch.randn(8, 3)
    layer, codes = VectorQuantizer(3, words=32, decay=0.9), []
    for _ in range(200):
        noise = 0.01 * torch.randn(64, 8, 3)
        layer((middles + noise).flatten(0, 1))
        codes.append(layer.eval()(middles).codes)
        layer.train()
    assert (torch.stack(codes[50:]) == codes[-1]).all()


def test_few_vectors_and_wrong_sizes() -> None:
    layer = VectorQuantizer(3, words=9)
    assert layer(torch.randn(2, 3)).codes.shape == (2,)
    for options in ({"words": 1}, {"words": 4, "decay": 1.0}):
        with pytest.raises(UserError):
            VectorQuantizer(3, **options)
