"""Several words for a vector: each says what the ones before have left over."""

import pytest
import torch

from headway.core.errors import UserError
from headway.core.residual_quantizer import ResidualQuantizer


def test_each_word_is_nearest_to_what_is_left_and_the_gradient_passes_once() -> None:
    torch.manual_seed(0)
    layer = ResidualQuantizer(5, words=7, levels=3).double().eval()
    x = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    found, rest = layer(x), x.detach()
    for level, words in enumerate(layer.layers):
        nearest = torch.cdist(rest.flatten(0, 1), words.words).argmin(dim=1).view(2, 4)
        assert torch.equal(found.codes[..., level], nearest)
        rest = rest - words.words[nearest]
    torch.testing.assert_close(found.vectors.detach(), x.detach() - rest)
    torch.testing.assert_close(layer.vectors(found.codes), found.vectors.detach())
    assert torch.equal(layer.codes(x), found.codes)
    gradient = torch.randn_like(x)
    (back,) = torch.autograd.grad(found.vectors, x, gradient)
    assert torch.equal(back, gradient)
    with pytest.raises(UserError, match="levels is 0"):
        ResidualQuantizer(5, words=7, levels=0)


def test_a_second_vocabulary_says_what_one_of_the_same_size_cannot() -> None:
    """Sixteen places: four words say four of them, two times four words all."""
    torch.manual_seed(0)
    rough, fine = 10 * torch.eye(4), torch.eye(4)
    places = (rough[:, None] + fine).flatten(0, 1)
    errors = []
    for levels in (1, 2):
        layer = ResidualQuantizer(4, words=4, levels=levels)
        for _ in range(60):
            layer(places.repeat(8, 1))
        errors.append((layer.eval()(places).vectors - places).square().mean().item())
    assert errors[1] < 0.5 * errors[0]
