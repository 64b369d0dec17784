from functools import partial

import pytest
import torch
from torch import nn

from headway.core.blocks import (
    DropPath,
    LayerScale,
    ParallelBlock,
    PostNormBlock,
    PreNormBlock,
    ResidualPostNormBlock,
    SandwichNormBlock,
)
from headway.core.errors import UserError
from headway.core.feedforward import GELU, GLU, MLP
from headway.core.layout import Layout
from headway.core.mixers import ConvolutionMixer, CrossAttention, FourierMixer, SelfAttention
from headway.core.norms import LayerNorm, RMSNorm
from headway.core.positions import Rotary
from headway.core.stacks import Decoder, Encoder, EncoderDecoder


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_keeps_its_input_only_for_a_backward_pass(approximate: str) -> None:
    gelu, x = GELU(approximate=approximate), torch.randn(3, 5, dtype=torch.float64)
    expected = nn.functional.gelu(x, approximate=approximate)
    kept = x.clone().requires_grad_()
    assert torch.autograd.gradcheck(gelu, kept)
    torch.testing.assert_close(gelu(kept), expected)
    torch.testing.assert_close(kept.detach(), x)
    out = gelu(x)
    assert out.data_ptr() == x.data_ptr()
    torch.testing.assert_close(out, expected)
    # A feed-forward owns its hidden layer, and leaves what it is given alone.
    mlp, given = MLP(6).requires_grad_(False), torch.randn(2, 3, 6)
    before = given.clone()
    mlp(given)
    torch.testing.assert_close(given, before)


def test_norms_equal_their_formulas() -> None:
    x = torch.randn(2, 3, 6).double()
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(LayerNorm(6).double()(x), expected)
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(RMSNorm(6).double()(x), expected)


def test_feedforwards_equal_their_formulas() -> None:
    x = torch.randn(2, 3, 6)
    mlp, glu = MLP(6, mlp_ratio=2), GLU(6, hidden_dim=5)
    torch.testing.assert_close(mlp(x), mlp.fc2(nn.functional.gelu(mlp.fc1(x))))
    w, b = glu.fc1.weight, glu.fc1.bias
    gate, value = x @ w[:5].T + b[:5], x @ w[5:].T + b[5:]
    torch.testing.assert_close(glu(x), glu.fc2(nn.functional.silu(gate) * value))
    assert glu.fc1.sections == {"gate": slice(0, 5), "value": slice(5, 10)}


FORMULAS = {
    PreNormBlock: lambda x, s: x + s.function(s.norm(x)),
    PostNormBlock: lambda x, s: s.norm(x + s.function(x)),
    ResidualPostNormBlock: lambda x, s: x + s.norm(s.function(x)),
    SandwichNormBlock: lambda x, s: x + s.norm_out(s.function(s.norm(x))),
}


@pytest.mark.parametrize("kind", FORMULAS, ids=lambda kind: kind.__name__)
def test_each_residual_scheme_equals_its_formula(kind) -> None:
    block = kind(8, 2)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(2, 4, 8)
    expected = FORMULAS[kind](FORMULAS[kind](x, block.mixer), block.feedforward)
    torch.testing.assert_close(block(x)[0], expected)


def test_gradients_of_the_last_block_shrink_with_depth_for_pre_norm_alone() -> None:
    # Xiong et al. 2020, theorem 1: O(sqrt(ln d)) for post-norm, a factor 1 / sqrt(depth) less for pre-norm.
    def gradient(kind, depth: int) -> float:
        torch.manual_seed(0)
        encoder = Encoder(32, depth, 4, block=kind)
        x, target = torch.randn(16, 8, 32), torch.randn(16, 8, 32)
        (encoder(x)[0] - target).square().mean().backward()
        return float(encoder.blocks[-1].feedforward.function.fc2.weight.grad.norm())

    assert gradient(PreNormBlock, 24) < 0.75 * gradient(PreNormBlock, 2)
    assert gradient(PostNormBlock, 24) > 0.9 * gradient(PostNormBlock, 2)


def test_a_parallel_block_adds_both_branches_of_one_norm() -> None:
    block, x = ParallelBlock(8, 2), torch.randn(2, 4, 8)
    normed = block.norm(x)
    torch.testing.assert_close(block(x)[0], x + block.mixer(normed) + block.feedforward(normed))


def test_layer_scale_and_drop_path_act_on_the_branch() -> None:
    block, x = PreNormBlock(8, 2, layer_scale=0.0), torch.randn(2, 4, 8)
    torch.testing.assert_close(block(x)[0], x)
    assert isinstance(block.mixer.scale, LayerScale)
    torch.manual_seed(0)
    dropped = DropPath(0.25).train()(torch.ones(20000, 2, 3))
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert (dropped.flatten(1).std(dim=1) == 0).all()  # whole items
    assert dropped.mean() == pytest.approx(1.0, abs=0.02)
    assert DropPath(0.25).eval()(x) is x


def test_drop_path_rises_over_the_depth() -> None:
    rates = [
        getattr(b.mixer.drop_path, "rate", 0.0) for b in Encoder(8, 3, 2, drop_path=0.2).blocks
    ]
    assert rates == [0.0, 0.1, 0.2]


def test_a_sequence_of_mixers_is_cycled() -> None:
    encoder = Encoder(8, 4, 2, mixer=[FourierMixer, SelfAttention])
    kinds = [type(block.mixer.function) for block in encoder.blocks]
    assert kinds == [FourierMixer, SelfAttention] * 2


def test_nan_in_the_padding_reaches_neither_results_nor_gradients() -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, 2, 2).double()
    x, lengths = torch.randn(2, 5, 8).double(), torch.tensor([3, 5])
    x[0, 3:] = torch.nan
    out, _ = encoder(x, Layout(lengths=lengths))
    alone, _ = encoder(x[:1, :3])
    torch.testing.assert_close(out[:1, :3], alone)
    parameters = list(encoder.parameters())
    loss = out[0, :3].square().sum() + out[1].square().sum()
    expected = alone.square().sum() + encoder(x[1:])[0].square().sum()
    for a, b in zip(
        torch.autograd.grad(loss, parameters),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


DECODERS = {
    "attention": {},
    "rotary": {"mixer": partial(SelfAttention, causal=True, position=Rotary, kv_heads=1)},
    "cycled": {"mixer": [partial(ConvolutionMixer, axes=1, causal=True, window=3), partial(SelfAttention, causal=True)]},
    "parallel": {"block": ParallelBlock},
}  # fmt: skip


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_step_by_step_equals_the_full_pass(name: str) -> None:
    torch.manual_seed(0)
    decoder, x = Decoder(16, 2, 4, **DECODERS[name]), torch.randn(2, 6, 16)
    cache = decoder.init_cache(2, 6)
    parts = [decoder(x[:, i : i + 1], cache=cache)[0] for i in range(6)]
    torch.testing.assert_close(torch.cat(parts, 1), decoder(x)[0], atol=1e-5, rtol=1e-4)


def test_an_encoder_decoder_decodes_step_by_step_with_a_padded_source() -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(Encoder(16, 1, 2), Decoder(16, 2, 2, cross=CrossAttention))
    source, target = torch.randn(2, 5, 16), torch.randn(2, 4, 16)
    layout = Layout(lengths=torch.tensor([3, 5]))
    full = model(source, target, layout)
    context, context_layout = model.encode(source, layout)
    cache = model.decoder.init_cache(2, 4)
    parts = [
        model.decode(target[:, i : i + 1], context, context_layout=context_layout, cache=cache)
        for i in range(4)
    ]
    torch.testing.assert_close(torch.cat(parts, 1), full, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(full[:1], model(source[:1, :3], target[:1]), atol=1e-5, rtol=1e-4)


def test_beams_and_rewinds_move_all_caches_of_a_stack() -> None:
    torch.manual_seed(0)
    decoder, x = Decoder(16, 2, 4), torch.randn(2, 4, 16)
    cache = decoder.init_cache(2, 8)
    decoder(x, cache=cache)
    cache.select(torch.tensor([1, 1]))
    cache.rewind(torch.tensor([2, 2]))
    again = decoder(x[1:, 2:].expand(2, -1, -1), cache=cache)[0]
    torch.testing.assert_close(again[0], decoder(x)[0][1, 2:], atol=1e-5, rtol=1e-4)


def test_a_decoder_refuses_mixers_that_look_ahead() -> None:
    with pytest.raises(UserError, match="SelfAttention is not; build it with causal=True"):
        Decoder(8, 1, 2, mixer=SelfAttention)
    with pytest.raises(UserError, match="FourierMixer is not; choose a mixer that supports causal"):
        Decoder(8, 1, 2, mixer=FourierMixer)


def test_a_shared_block_gets_a_cache_for_each_application() -> None:
    from headway.core.stacks import Stack

    torch.manual_seed(0)
    block = PreNormBlock(16, 4, mixer=partial(SelfAttention, causal=True))
    stack, x = Stack([block, block]), torch.randn(1, 5, 16)
    cache = stack.init_cache(1, 5)
    parts = [stack(x[:, i : i + 1], cache=cache)[0] for i in range(5)]
    torch.testing.assert_close(torch.cat(parts, 1), stack(x)[0], atol=1e-5, rtol=1e-4)
