"""Parakeet of transformers (CTC, RNN-T, TDT) with copied weights, and its features."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained
from headway.speech.front_ends import NeMoMel
from headway.speech.models import CTC, Transducer

KINDS = {"CTC": CTC, "RNNT": Transducer, "TDT": Transducer}


def tiny(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    encoder = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "num_mel_bins": 16,
        "subsampling_conv_channels": 6,
        **dict.fromkeys(("dropout", "attention_dropout", "activation_dropout", "layerdrop"), 0.0),
    }
    options = {"encoder_config": encoder, "vocab_size": 9}
    if kind == "CTC":
        options |= {"pad_token_id": 8}
    else:
        options |= {"decoder_hidden_size": 12, "blank_token_id": 8, "pad_token_id": 2}
    if kind == "TDT":
        options |= {"durations": [0, 1, 2]}
    config = getattr(transformers, f"Parakeet{kind}Config")(**options)
    config.encoder_config._attn_implementation = "eager"
    model = getattr(transformers, f"ParakeetFor{kind}")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # What starts at zero or all but uniform would hide an error in it.
            if parameter.ndim == 1 or "bias_" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(24 if name.startswith("encoder_projector") else 6)
        if kind != "CTC":
            model.joint.head.bias[8] += 1.3 if kind == "RNNT" else 0.1  # nothing now and then
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.add_(0.3 * torch.rand_like(buffer))
    return model


def published(kind: str, folder: Path) -> torch.nn.Module:
    model = tiny(kind)
    model.save_pretrained(folder)  # pyright: ignore
    notes = {"feature_size": 16, "sampling_rate": 16000, "n_fft": 512, "win_length": 400}
    notes |= {"hop_length": 160, "preemphasis": 0.97}
    (folder / "preprocessor_config.json").write_text(json.dumps(notes))
    return model


def features() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs, lengths = torch.randn(3, 75, 16, generator=generator), torch.tensor([75, 50, 33])
    # Theirs hears what lies behind an item, so there is silence.
    return inputs * mask(lengths, 75)[..., None], lengths


def mask(lengths: Tensor, longest: int) -> Tensor:
    return torch.arange(longest) < lengths[:, None]


def encoded_by(model: torch.nn.Module, inputs: Tensor, lengths: Tensor) -> Tensor:
    return model.encoder(inputs, attention_mask=mask(lengths, inputs.shape[1])).last_hidden_state  # pyright: ignore


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_encoder_is_theirs(kind: str, tmp_path: Path) -> None:
    theirs, ours = published(kind, tmp_path), from_pretrained(tmp_path).eval()
    assert isinstance(ours, KINDS[kind])
    inputs, lengths = features()
    found, tokens, *_ = ours.encode(inputs, lengths)
    assert tokens.tolist() == [10, 7, 5]
    wanted = encoded_by(theirs, inputs, lengths)
    for row, length in enumerate(tokens):
        torch.testing.assert_close(found[row, :length], wanted[row, :length], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_scores_of_ctc_are_theirs(tmp_path: Path) -> None:
    theirs, ours = published("CTC", tmp_path), from_pretrained(tmp_path).eval()
    assert isinstance(ours, CTC)
    inputs, lengths = features()
    wanted = theirs(inputs, attention_mask=mask(lengths, 75)).logits.log_softmax(-1)
    found, tokens = ours(inputs, lengths)
    for row, length in enumerate(tokens):
        torch.testing.assert_close(found[row, :length], wanted[row, :length], rtol=1e-5, atol=1e-5)
    assert ours.blank == 8


@pytest.mark.parametrize("kind", ["RNNT", "TDT"])
@torch.no_grad()
def test_the_scores_of_transducers_are_theirs(kind: str, tmp_path: Path) -> None:
    theirs, ours = published(kind, tmp_path), from_pretrained(tmp_path).eval()
    assert isinstance(ours, Transducer)
    inputs, _ = features()
    text = torch.tensor([[1, 5, 0, 3], [7, 7, 2, 4], [0, 1, 2, 3]])
    started = torch.nn.functional.pad(text, (1, 0), value=8)
    wanted = theirs(inputs, decoder_input_ids=started).logits
    encoded = ours.encode(inputs).encoded
    found = ours.joint(encoded[:, :, None], ours.predictor(text)[:, None])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert ours.durations == ((0, 1, 2) if kind == "TDT" else ())


@pytest.mark.parametrize("kind", ["RNNT", "TDT"])
@torch.no_grad()
def test_the_text_is_the_one_that_they_write(kind: str, tmp_path: Path) -> None:
    theirs, ours = published(kind, tmp_path), from_pretrained(tmp_path).eval()
    assert isinstance(ours, Transducer)
    inputs, lengths = features()
    for row, length in enumerate(lengths):
        alone = inputs[row : row + 1, :length]
        theirs.generation_config.decoder_start_token_id = 8  # pyright: ignore
        wanted = theirs.generate(alone, attention_mask=torch.ones(1, int(length), dtype=torch.long))  # pyright: ignore
        sequence = getattr(wanted, "sequences", wanted)[0].tolist()
        [heard] = ours.transcribe(ours.encode(alone))
        # Their sequences have the blanks, too.
        assert list(heard.tokens) == [token for token in sequence if token != 8]
    found = ours.transcribe(ours.encode(inputs, lengths))
    assert len({len(one.tokens) for one in found}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_written_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    published(kind, tmp_path / "theirs")
    check_round_trip(tmp_path / "theirs", tmp_path / "ours")


def test_the_features_are_theirs_in_any_batch() -> None:
    extractor = transformers.ParakeetFeatureExtractor(feature_size=80)
    random = np.random.default_rng(0)
    samples = [
        (0.1 * random.standard_normal(size)).astype("float32") for size in (16000, 9111, 4000)
    ]
    wanted = extractor(samples, sampling_rate=16000, return_tensors="pt")
    waveforms = torch.full((3, 16000), torch.nan)
    lengths = torch.tensor([len(one) for one in samples])
    for row, one in enumerate(samples):
        waveforms[row, : len(one)] = torch.from_numpy(one)
    found, steps = NeMoMel()(waveforms, lengths)
    assert steps.tolist() == wanted.attention_mask.sum(1).tolist()
    theirs = wanted.input_features[:, : found.shape[1]]
    torch.testing.assert_close(found, theirs, rtol=1e-4, atol=1e-4)
    alone, _ = NeMoMel()(waveforms[2:, :4000], lengths[2:])
    torch.testing.assert_close(alone[0], found[2, : steps[2]], rtol=1e-5, atol=1e-5)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    published("CTC", tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    config["encoder_config"]["subsampling_conv_kernel_size"] = 5
    file.write_text(json.dumps(config))
    with pytest.raises(UserError, match="subsampling_conv_kernel_size=5"):
        from_pretrained(tmp_path)


def test_the_file_of_a_processor_of_transformers_five_is_read(tmp_path: Path) -> None:
    published("CTC", tmp_path)
    old = tmp_path / "preprocessor_config.json"
    notes = {**json.loads(old.read_text()), "preemphasis": 0.5}
    old.unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": notes}))
    front_end = from_pretrained(tmp_path).front_end
    assert isinstance(front_end, NeMoMel)
    assert front_end.preemphasis == 0.5
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": [1]}))
    with pytest.raises(UserError, match=r"feature_extractor \[1\], expected a mapping"):
        from_pretrained(tmp_path)
