"""Normalised linear attention against its weights."""

import pytest
import torch

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import CrossAttention, NormalizedLinearCrossAttention


def small(**options) -> NormalizedLinearCrossAttention:
    torch.manual_seed(0)
    return NormalizedLinearCrossAttention(8, 2, context_dim=6, **options).double()


def test_it_equals_its_weights_which_add_up_to_one() -> None:
    mixer = small()
    x, context = (torch.randn(2, n, c, dtype=torch.float64) for n, c in ((5, 8), (7, 6)))
    query = mixer.q(x).unflatten(2, (2, 4)).transpose(1, 2).softmax(dim=-1)
    key, value = (
        part.unflatten(2, (2, 4)).transpose(1, 2) for part in mixer.kv(context).chunk(2, dim=2)
    )
    weights = query @ key.softmax(dim=-1).transpose(2, 3)
    weights = weights / weights.sum(dim=3, keepdim=True)
    read = weights @ value
    expected = mixer.projection((read + query).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixer(x, context=context), expected)
    mixer = small(query_residual=False)
    expected = mixer.projection(read.transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixer(x, context=context), expected)
    # Values that are all alike come through as they are.
    alike = context[:, :1].expand(-1, 7, -1)
    one = mixer.projection(mixer.kv(alike).chunk(2, dim=2)[1])[:, :1].expand(-1, 5, -1)
    torch.testing.assert_close(mixer(x, context=alike), one)
    dense = CrossAttention(8, 2, context_dim=6).double()
    dense.load_state_dict(mixer.state_dict())
    assert (dense(x, context=context) - expected).abs().max() > 1e-3


def test_padding_of_the_set_does_not_matter() -> None:
    mixer = small()
    x, context = (torch.randn(2, n, c, dtype=torch.float64) for n, c in ((5, 8), (7, 6)))
    valid = torch.rand(2, 7) > 0.4
    hidden = context.masked_fill(~valid[..., None], torch.nan).requires_grad_()
    found = mixer(x, context=hidden, context_layout=Layout(valid=valid))
    for item in range(2):
        alone = mixer(x[item : item + 1], context=context[item : item + 1, valid[item]])
        torch.testing.assert_close(found[item], alone[0])
    found.sum().backward()
    assert hidden.grad.isfinite().all()
    mixer = small(query_residual=False)
    empty = mixer(x, context=context, context_layout=Layout(lengths=torch.tensor([0, 7])))
    torch.testing.assert_close(empty[0], mixer.projection.bias.expand(5, -1))


def test_gradients_are_right_and_a_set_is_needed() -> None:
    mixer = small()
    tensors = [torch.randn(1, n, c, dtype=torch.float64) for n, c in ((3, 8), (4, 6))]
    inputs = tuple(tensor.requires_grad_() for tensor in tensors)
    assert torch.autograd.gradcheck(lambda x, context: mixer(x, context=context), inputs)
    with pytest.raises(UserError, match="needs context="):
        mixer(tensors[0])
