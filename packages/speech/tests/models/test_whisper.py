"""Whisper of transformers with copied weights: logits, gradients, greedy transcripts, files both ways."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_whisper as small
import torch
from small_whisper import NUMBERS
from torch import Tensor
from torch.nn import functional as F
from transformers import WhisperFeatureExtractor
from transformers.generation import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained, save_published
from headway.speech.front_ends import WhisperMel
from headway.speech.models.whisper import Whisper, WhisperSearch
from headway.speech.models.whisper.search import answers

END = NUMBERS["<|endoftext|>"]
GREEDY: dict[str, Any] = {"temperatures": (0.0,), "language": "de"}
KINDS: dict[str, dict[str, Any]] = {
    "alike": {},
    "turbo": {"decoder_layers": 1, "num_mel_bins": 128, "encoder_layers": 3},
}


def loaded(folder: Path) -> Whisper:
    model = from_pretrained(folder).eval()
    assert isinstance(model, Whisper)
    return model


@pytest.mark.parametrize("name", KINDS)
def test_logits_and_gradients_equal_transformers(name: str, tmp_path: Path) -> None:
    other = small.make_whisper(tmp_path, **KINDS[name])
    check_round_trip(tmp_path, tmp_path / "back")
    ours = loaded(tmp_path)
    inputs = torch.randn(3, other.config.num_mel_bins, small.FRAMES)
    tokens = torch.randint(0, 12, (3, 17), generator=torch.Generator().manual_seed(2))
    theirs = other(input_features=inputs, decoder_input_ids=tokens)
    got = ours(inputs.transpose(1, 2), tokens)
    torch.testing.assert_close(got, theirs.logits, atol=1e-5, rtol=1e-5)
    heard = ours.encode(inputs.transpose(1, 2)).encoded
    peer = theirs.encoder_last_hidden_state
    torch.testing.assert_close(heard, peer, atol=1e-5, rtol=1e-5)
    for logits in (got, theirs.logits):
        F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    body = other.model
    for mine, grad in (
        (ours.encoder.stem.conv1.weight, body.encoder.conv1.weight.grad),
        (ours.decoder.embedding.weight, body.decoder.embed_tokens.weight.grad),
        (ours.decoder.position.weight, body.decoder.embed_positions.weight.grad),
        (
            ours.encoder.encoder.get_parameter("blocks.0.mixer.function.qkv.weight"),
            torch.cat(
                [getattr(body.encoder.layers[0].self_attn, f"{x}_proj").weight.grad for x in "qkv"]
            ),
        ),
    ):
        torch.testing.assert_close(mine.grad, grad, atol=1e-5, rtol=1e-4)
    bias = ours.encoder.encoder.get_parameter("blocks.0.mixer.function.qkv.bias")
    assert not bias[32:64].any()
    assert bias.grad is not None
    assert not bias.grad[32:64].any()
    assert bias.grad[:32].any()


def peer_greedy(model: Any, inputs: Tensor, prompt: list[int], timestamps: bool) -> list[list[int]]:
    """Returns the likeliest 20 tokens under the processors of transformers."""
    told = model.generation_config
    processors = [
        SuppressTokensLogitsProcessor(told.suppress_tokens),
        SuppressTokensAtBeginLogitsProcessor(told.begin_suppress_tokens, len(prompt)),
    ]
    if timestamps:
        processors.append(WhisperTimeStampLogitsProcessor(told, begin_index=len(prompt)))
    else:
        times = range(NUMBERS["<|notimestamps|>"], len(small.NAMES))
        processors.append(SuppressTokensLogitsProcessor([*times]))
    tokens = torch.tensor([prompt] * len(inputs))
    with torch.no_grad():
        heard = model.model.encoder(inputs)
        for _ in range(20):
            scores = model(encoder_outputs=heard, decoder_input_ids=tokens).logits[:, -1]
            for one in processors:
                scores = one(tokens, scores)
            tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], dim=1)
    return tokens[:, len(prompt) :].tolist()


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_greedy_transcripts_are_those_of_transformers(
    seed: int, timestamps: bool, tmp_path: Path
) -> None:
    other = small.make_whisper(tmp_path, seed=seed)
    ours = loaded(tmp_path)
    inputs = small.features(seed)
    search = WhisperSearch(timestamps=timestamps, **GREEDY)
    prompt = ours.marks.prompt(language="de", task="transcribe", timestamps=timestamps)
    heard = ours.encode(inputs.transpose(1, 2)).encoded
    found = answers(ours, heard, [prompt] * 3, search)
    alone = answers(ours, heard[1:2], [prompt], search)
    assert alone[0].tokens == found[1].tokens
    for answer, row in zip(found, peer_greedy(other, inputs, prompt, timestamps), strict=True):
        row = row[: row.index(END)] if END in row else row
        assert row
        assert answer.tokens[: len(row)] == row


def test_without_the_rules_of_times_greedy_transcripts_differ(tmp_path: Path) -> None:
    small.make_whisper(tmp_path)
    ours = loaded(tmp_path)
    heard = ours.encode(small.features(0).transpose(1, 2)).encoded
    prompt = ours.marks.prompt(language="de", task="transcribe", timestamps=True)
    found = [
        answers(ours, heard, [prompt] * 3, WhisperSearch(timestamps=x, **GREEDY)) for x in (0, 1)
    ]
    assert all(ours.marks.is_time(answer.tokens[0]) for answer in found[1])
    assert not any(ours.marks.is_time(token) for answer in found[0] for token in answer.tokens)


@pytest.mark.parametrize("mels", [80, 128])
def test_features_are_those_of_transformers(mels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(3, 16000 * 6, generator=generator) * torch.tensor([[0.1], [1e-3], [0.5]])
    lengths = torch.tensor([96000, 50000, 123])
    peer = WhisperFeatureExtractor(feature_size=mels)
    rows: list[np.ndarray] = [row[:n].numpy() for row, n in zip(samples, lengths, strict=True)]
    wanted = peer(rows, sampling_rate=16000, return_tensors="pt").input_features
    samples[1, 50000:] = torch.nan
    front = WhisperMel(mels=mels)
    found = front(samples, lengths)
    torch.testing.assert_close(found.inputs.transpose(1, 2), wanted, atol=1e-5, rtol=0)
    assert found.lengths.tolist() == [600, 312, 0]
    alone = front(samples[1:2, :50000], lengths[1:2])
    assert torch.equal(alone.inputs, found.inputs[1:2])
    zeros = WhisperMel(mels=mels, filling="zeros")(samples, lengths).inputs
    assert torch.equal(zeros[1, :312], found.inputs[1, :312])
    assert not zeros[1, 312:].any()


def test_a_language_is_heard_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    other = small.make_whisper(tmp_path)
    ours = loaded(tmp_path)
    inputs = small.features(4)
    shares = ours.languages(ours.encode(inputs.transpose(1, 2)))
    wanted = other.detect_language(inputs).tolist()
    assert [NUMBERS[f"<|{next(iter(row))}|>"] for row in shares] == wanted
    assert all(abs(sum(row.values()) - 1) < 1e-5 for row in shares)
    with pytest.raises(UserError, match="knows no language 'xx'"):
        ours.marks.prompt(language="xx", task="transcribe", timestamps=True)
    with pytest.raises(UserError, match="windows of 100 frames"):
        ours.encode(torch.zeros(1, 90, 80))


def test_a_model_returns_from_its_own_folder_and_grows(tmp_path: Path) -> None:
    small.make_whisper(tmp_path / "theirs")
    ours = loaded(tmp_path / "theirs")
    inputs, tokens = small.features(1).transpose(1, 2), torch.arange(12).view(3, 4)
    save_pretrained(ours, tmp_path / "own")
    assert torch.equal(loaded(tmp_path / "own")(inputs, tokens), ours(inputs, tokens))
    before = ours(inputs, tokens)
    ours.set_vocabulary((*ours.tokenizer.vocabulary, "<new>"))
    assert ours.marks.times == range(NUMBERS["<|0.00|>"], NUMBERS["<|0.00|>"] + 51)
    torch.testing.assert_close(ours(inputs, tokens)[..., :-1], before)
    save_published(ours, tmp_path / "grown", like=tmp_path / "theirs")
    again = loaded(tmp_path / "grown")
    assert torch.equal(again(inputs, tokens), ours(inputs, tokens))
