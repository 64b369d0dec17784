import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headway.core.blocks import MacaronBlock
from headway.core.errors import UserError
from headway.core.mixers import (
    ConvolutionMixer,
    FourierMixer,
    GatedConvolutionMixer,
    LinearAttention,
    PoolingMixer,
    SelfAttention,
)
from headway.core.taps import record
from headway.core.weights import from_pretrained, save_pretrained
from headway.speech.front_ends import KaldiFbank, Waveform
from headway.speech.layers import ConvolutionSubsampling, WaveformStem
from headway.speech.models import CTC, Conformer
from headway.speech.models.conformer import RELATIVE_ATTENTION
from headway.speech.tokenizers import TextTokenizer

FEATURES = partial(ConvolutionSubsampling, features=10, channels=3)
SAMPLES = {
    norm: partial(WaveformStem, channels=(6, 6), kernels=(4, 3), strides=(3, 2), norm=norm)
    for norm in ("layer", "group")
}


def build(stem=FEATURES, mixer=RELATIVE_ATTENTION, **options) -> CTC:
    torch.manual_seed(0)
    block = partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=5))
    encoder = Conformer(dim=16, depth=2, heads=2, stem=stem, mixer=mixer, block=block, **options)
    letters = TextTokenizer(vocabulary=tuple("_abcde"))
    front_end = KaldiFbank(mels=10, normalise="none") if encoder.bands else Waveform()
    return CTC(encoder=encoder, tokenizer=letters, front_end=front_end)


def batch(stem) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([37, 22, 14])
    x = torch.randn(3, 37, 10) if stem is FEATURES else torch.randn(3, 37)
    for item, length in enumerate(lengths):
        x[item, length:] = float("nan")
    return x, lengths


@pytest.mark.parametrize("kind", ["features", "layer", "group"])
def test_an_item_alone_equals_the_item_in_a_batch_with_gradients(kind: str) -> None:
    stem = FEATURES if kind == "features" else SAMPLES[kind]
    model = build(stem).double().eval()
    x, lengths = batch(stem)
    x = x.double().requires_grad_()
    out = model(x, lengths)
    parameters = [*model.parameters()]
    together, apart = torch.zeros(()).double(), torch.zeros(()).double()
    for item, length in enumerate(lengths.tolist()):
        alone = model(x[item : item + 1, :length])
        tokens = alone.log_probs.shape[1]
        assert alone.lengths.tolist() == [tokens] == [out.lengths[item]]
        torch.testing.assert_close(
            out.log_probs[item, :tokens], alone.log_probs[0], atol=1e-5, rtol=0
        )
        together = together + out.log_probs[item, :tokens].square().sum()
        apart = apart + alone.log_probs.square().sum()
    one = torch.autograd.grad(together, [x, *parameters], retain_graph=True)
    two = torch.autograd.grad(apart, [x, *parameters])
    for a, b in zip(one, two, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_lengths_are_a_function_of_an_items_own_length() -> None:
    model = build()
    lengths = torch.arange(1, 12)
    expected = [math.ceil(math.ceil(n / 2) / 2) for n in lengths.tolist()]
    assert model.output_lengths(lengths).tolist() == expected
    assert model(torch.randn(1, 7, 10)).log_probs.shape == (1, 2, 6)
    with pytest.raises(UserError, match="length 8 is too short for WaveformStem"):
        build(SAMPLES["layer"])(torch.randn(1, 20), torch.tensor([8]))


MIXERS = {
    "relative": RELATIVE_ATTENTION,
    "pooling": PoolingMixer,
    "convolution": partial(ConvolutionMixer, axes=1, window=5),
    "linear": LinearAttention,
    "plain": SelfAttention,
    "cycled": [RELATIVE_ATTENTION, PoolingMixer],
}


@pytest.mark.parametrize("name", MIXERS)
def test_any_mixer_that_takes_padding_trains(name: str) -> None:
    model = build(mixer=MIXERS[name]).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        x, lengths = batch(FEATURES)
        out = model(x, lengths)
        assert torch.allclose(out.log_probs[0].exp().sum(-1), torch.ones(10))
        optimiser.zero_grad()
        out.log_probs[:, :2].square().mean().backward()
        for parameter in model.parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all()
        optimiser.step()


def test_a_mixer_without_padding_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="FourierMixer does not support lengths"):
        build(mixer=FourierMixer)(torch.randn(1, 20, 10))


def test_a_saved_model_is_the_same_again(tmp_path: Path) -> None:
    model = build().eval()
    x, lengths = batch(FEATURES)
    folder = save_pretrained(model, tmp_path / "model")
    again = from_pretrained(folder).eval()
    real = torch.arange(10) < model.output_lengths(lengths)[:, None]
    torch.testing.assert_close(again(x, lengths).log_probs[real], model(x, lengths).log_probs[real])
    wider = from_pretrained(folder, vocabulary=tuple("_abcdefg"))
    assert wider(x, lengths).log_probs.shape[-1] == 8


def test_weights_are_reported_and_padding_has_none() -> None:
    model = build().eval()
    x, lengths = batch(FEATURES)
    with record(model, "weights", "output") as taken:
        model(x, lengths)
    assert len(taken["weights"]) == len(taken["output"]) == 2
    weights = taken["weights"]["encoder.encoder.blocks.0.mixer.function"][0]
    assert weights[1, :, :, 6:].abs().max() == 0
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


def test_the_model_compiles_without_a_break() -> None:
    model = build().eval()
    x, lengths = torch.randn(3, 36, 10), torch.tensor([36, 21, 30])
    expected = model(x, lengths)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, lengths).log_probs, expected.log_probs)


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(UserError, match="this stem takes \\(B, T, 10\\)"):
        build()(torch.randn(1, 20, 12))
    with pytest.raises(UserError, match="takes waveforms"):
        build(SAMPLES["layer"])(torch.randn(1, 20, 12))
    with pytest.raises(UserError, match="give the tokenizer a blank"):
        CTC(encoder=build().encoder, tokenizer=TextTokenizer(blank=None))
    with pytest.raises(UserError, match="1 channels, 2 kernels"):
        WaveformStem(8, channels=(4,), kernels=(3, 3), strides=(1,))
