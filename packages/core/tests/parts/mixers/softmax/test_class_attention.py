"""Class attention: the class token reads, the others pass unchanged."""

import pytest
import torch

from headway.core.blocks import ClassAttentionBlock, PreNormBlock
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import ClassAttention, SelfAttention

DIM, HEADS, TOKENS = 12, 3, 6


def with_weights(part: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return part.double()


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_the_first_tokens_get_what_self_attention_gives_them(prefix: int) -> None:
    ours, dense = with_weights(ClassAttention(DIM, HEADS)), SelfAttention(DIM, HEADS).double()
    with torch.no_grad():
        dense.qkv.weight.copy_(torch.cat([ours.q.weight, ours.kv.weight]))
        dense.qkv.bias.copy_(torch.cat([ours.q.bias, ours.kv.bias]))
    dense.projection.load_state_dict(ours.projection.state_dict())
    x = torch.randn(2, TOKENS, DIM, dtype=torch.float64)
    readers = max(1, prefix)
    bias = torch.randn(2, HEADS, TOKENS, TOKENS, dtype=torch.float64)
    mask = torch.rand(TOKENS, TOKENS) < 0.7
    mask[:, 0] = True
    for options in ({}, {"bias": bias}, {"mask": mask}, {"mask": mask[:1]}):
        mixed = ours(x, Layout(prefix=prefix), **options)
        expected = dense(x, Layout(prefix=prefix), **options)
        torch.testing.assert_close(mixed[:, :readers], expected[:, :readers])
        assert not mixed[:, readers:].any()


def test_a_block_changes_the_class_token_alone_and_another_block_does_not() -> None:
    x = torch.randn(2, TOKENS, DIM, dtype=torch.float64)
    layout = Layout(prefix=1)
    out, _ = with_weights(ClassAttentionBlock(DIM, HEADS))(x, layout)
    assert torch.equal(out[:, 1:], x[:, 1:])
    assert not torch.allclose(out[:, :1], x[:, :1])
    plain, _ = with_weights(PreNormBlock(DIM, HEADS, mixer=ClassAttention))(x, layout)
    assert not torch.allclose(plain[:, 1:], x[:, 1:])
    # Every token tells the class token something.
    x.requires_grad_()
    out, _ = with_weights(ClassAttentionBlock(DIM, HEADS))(x, layout)
    [gradient] = torch.autograd.grad(out[:, 0].square().sum(), x)
    assert (gradient.norm(dim=-1) > 1e-6).all()


def test_padding_tells_nothing_and_a_context_is_refused() -> None:
    block = with_weights(ClassAttentionBlock(DIM, HEADS))
    x = torch.randn(2, TOKENS, DIM, dtype=torch.float64)
    alone, _ = block(x[:1, :4], Layout(prefix=1))
    padded, _ = block(x, Layout(prefix=1, lengths=torch.tensor([4, TOKENS])))
    torch.testing.assert_close(padded[:1, 0], alone[:, 0])
    with pytest.raises(UserError, match="neither a context nor a cache"):
        block(x, context=x)
