"""The macaron block, the gated convolution and the batch norm that leaves out padding."""

from functools import partial

import pytest
import torch
from torch import nn

from headway.core.blocks import MacaronBlock, PreNormBlock
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import GatedConvolutionMixer, SelfAttention
from headway.core.norms import LayerNorm, MaskedBatchNorm
from headway.core.stacks import Encoder


def test_the_block_is_the_equation_of_the_paper() -> None:
    torch.manual_seed(0)
    small = partial(GatedConvolutionMixer, window=3)
    block = MacaronBlock(8, 2, convolution=small).double().eval()
    x = torch.randn(2, 5, 8).double()
    first = x + 0.5 * block.feedforward_in.function(block.feedforward_in.norm(x))
    second = first + block.mixer.function(block.mixer.norm(first))
    assert block.convolution is not None
    third = second + block.convolution.function(block.convolution.norm(second))
    last = third + 0.5 * block.feedforward_out.function(block.feedforward_out.norm(third))
    torch.testing.assert_close(block(x)[0], block.norm(last))


def test_a_plain_block_with_the_same_parts_is_no_macaron() -> None:
    # Strang's splitting: two half steps of a linear flow around another are exact to the second order.
    torch.manual_seed(0)
    dim = 6
    macaron = MacaronBlock(
        dim, 1, convolution=None, feedforward=MLP, norm=lambda dim: nn.Identity()
    )
    plain = PreNormBlock(dim, 1, feedforward=MLP, norm=lambda dim: nn.Identity())
    plain.mixer.load_state_dict(macaron.mixer.state_dict())
    plain.feedforward.load_state_dict(macaron.feedforward_in.state_dict())
    macaron.feedforward_out.load_state_dict(macaron.feedforward_in.state_dict())
    x = torch.randn(1, 4, dim)

    def flow(x: torch.Tensor, step: float) -> torch.Tensor:
        return x + step * macaron.feedforward_in.function(x)

    half = flow(x, 0.5)
    expected = flow(half + macaron.mixer.function(half), 0.5)
    torch.testing.assert_close(macaron(x)[0], expected)
    assert not torch.allclose(plain(x)[0], expected, atol=1e-3)


def test_a_stack_takes_the_block_and_padding_with_nan_changes_nothing() -> None:
    torch.manual_seed(0)
    block = partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=5))
    stack = Encoder(8, 2, 2, block=block, final_norm=False).double().eval()
    x = torch.randn(2, 7, 8).double()
    layout = Layout(lengths=torch.tensor([7, 4]))
    padded = x.clone()
    padded[1, 4:] = float("nan")
    out = stack(padded, layout)[0]
    alone = stack(x[1:, :4])[0]
    torch.testing.assert_close(out[1, :4], alone[0])
    names = dict(stack.named_parameters())
    one = torch.autograd.grad(out[1, :4].square().sum(), list(names.values()))
    two = torch.autograd.grad(alone.square().sum(), list(names.values()))
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)


def test_bias_and_mask_are_those_of_the_mixer() -> None:
    block = MacaronBlock(8, 2, convolution=partial(GatedConvolutionMixer, window=3)).eval()
    x = torch.randn(1, 5, 8)
    mask = torch.eye(5, dtype=torch.bool)
    assert not torch.allclose(block(x, mask=mask)[0], block(x)[0], atol=1e-4)
    with pytest.raises(UserError, match="GatedConvolutionMixer does not support mask"):
        GatedConvolutionMixer(8)(x, mask=mask)


def test_unpadded_the_norm_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = MaskedBatchNorm(6).double(), nn.BatchNorm1d(6).double()
    theirs.load_state_dict(ours.state_dict())
    for _ in range(3):
        x = (3 + 2 * torch.randn(4, 5, 6)).double().requires_grad_()
        one, two = ours(x), theirs(x.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(one, two)
        seed = torch.randn(4, 5, 6).double()
        torch.testing.assert_close(*(torch.autograd.grad(out, x, seed)[0] for out in (one, two)))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x.transpose(1, 2)).transpose(1, 2))


def test_statistics_are_of_real_tokens_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, 4).double()
    lengths = torch.tensor([6, 2, 4])
    mask = Layout(lengths=lengths).token_mask(6)
    padded = x.masked_fill(~mask[..., None], 50.0)  # pyright: ignore
    masked, plain = MaskedBatchNorm(4).double(), MaskedBatchNorm(4).double()
    real = x[mask][None]
    torch.testing.assert_close(masked(padded, mask)[mask], plain(real)[0])
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(masked.state_dict()[name], value)
    # The batch norm of torch would see the padding.
    seen = nn.BatchNorm1d(4).double()(padded.transpose(1, 2)).transpose(1, 2)[mask]
    assert not torch.allclose(seen, plain(real)[0], atol=0.1)


def test_training_statistics_do_not_depend_on_how_much_was_padded() -> None:
    torch.manual_seed(0)
    mixer = GatedConvolutionMixer(4, window=3).double()
    other = GatedConvolutionMixer(4, window=3).double()
    other.load_state_dict(mixer.state_dict())
    x = torch.randn(2, 5, 4).double()
    layout = Layout(lengths=torch.tensor([5, 3]))
    wide = torch.cat([x, torch.randn(2, 4, 4).double()], dim=1)
    out = mixer(x, layout)
    more = other(wide, layout)
    torch.testing.assert_close(out[0], more[0, :5])
    torch.testing.assert_close(out[1, :3], more[1, :3])
    torch.testing.assert_close(mixer.norm.running_var, other.norm.running_var)


def test_the_convolution_takes_other_norms_and_refuses_even_windows() -> None:
    mixer = GatedConvolutionMixer(4, window=3, norm=LayerNorm)
    assert torch.isfinite(mixer(torch.randn(1, 3, 4))).all()
    with pytest.raises(UserError, match="window must be odd and positive, got 4; use 5"):
        GatedConvolutionMixer(4, window=4)
    assert isinstance(MacaronBlock(4, 1).mixer.function, SelfAttention)
