"""DASpeech: a voice reads the vertices of a graph, each token where it lies on all paths."""

from functools import partial

import pytest
import torch
from spoken import harmonic
from torch import Tensor

from headway.core.blocks import PreNormBlock
from headway.core.errors import UserError
from headway.core.mixers import SelfAttention
from headway.core.positions import Rotary
from headway.speech.batch import SpeechBatch, padded
from headway.speech.front_ends import KaldiFbank, LogMel
from headway.speech.layers import ProjectedFeatures
from headway.speech.layers.alignment import NEVER
from headway.speech.models import Conformer, DASpeech, FastSpeech, ParallelDecoder, daspeech
from headway.speech.models.da_transformer import Graph, framed_text
from headway.speech.models.fast_speech import framed
from headway.speech.synthesiser import Manner, Spoken

RATE, HOP = 8000, 80
PITCHES = {"a": 120.0, "b": 220.0, "c": 400.0}
TEXTS = ("ab", "ba", "bc", "cb", "ac", "ca")


def mel() -> LogMel:
    front_end = LogMel(sample_rate=RATE, mels=20, size=256, hop=HOP, normalise="global")
    front_end.frames.fill_(1)
    front_end.mean.fill_(-5)
    front_end.std.fill_(3)
    return front_end


def model(**options) -> DASpeech:
    mixer = partial(SelfAttention, position=Rotary)
    stem = partial(ProjectedFeatures, features=8)
    return DASpeech(
        **{"voice_dim": 32, "scale": 1.0} | options,
        encoder=Conformer(dim=32, depth=1, heads=2, stem=stem, mixer=mixer, block=PreNormBlock),
        tokenizer=framed_text().extended("abc"),
        front_end=KaldiFbank(sample_rate=RATE, mels=8, normalise="none"),
        decoder=partial(ParallelDecoder, depth=1, heads=2, mixer=mixer),
        voice=partial(
            FastSpeech,
            dim=32,
            depth=1,
            decoder_depth=1,
            front_end=mel(),
            variances=None,
            dropout=0.0,
        ),
    )


def tone(letter: str) -> Tensor:
    return harmonic(PITCHES[letter], 8 * HOP / RATE, RATE)


def heard(
    speech: DASpeech, count: int, generator: torch.Generator
) -> tuple[SpeechBatch, list[str]]:
    """Returns sounds of six kinds; of each a text, and a tone for each of its letters as the answer."""
    kinds = torch.randint(len(TEXTS), (count,), generator=generator)
    inputs = 0.1 * torch.randn(count, 8, 8, generator=generator)
    inputs[torch.arange(count), :, kinds] += 1
    said = [TEXTS[kind] for kind in kinds.tolist()]
    numbers = speech.tokenizer.numbers
    texts = padded([torch.tensor([numbers[letter] for letter in text]) for text in said])
    answers = padded([torch.cat([tone(letter) for letter in text]) for text in said])
    batch = SpeechBatch(inputs, torch.full((count,), 8), *texts)
    return batch._replace(answers=answers[0], answer_lengths=answers[1]), said


def test_without_answers_the_graph_learns_alone_and_wrong_use_says_so() -> None:
    torch.manual_seed(0)
    speech = model()
    batch, _ = heard(speech, 3, torch.Generator().manual_seed(0))
    losses = speech.loss(batch)
    assert losses.keys() == {"loss", "graph", "alignment", "duration", "mel"}
    losses["loss"].backward()
    assert all(
        parameter.grad is not None and bool(parameter.grad.isfinite().all())
        for parameter in speech.parameters()
    )
    assert speech.loss(batch._replace(answers=None)).keys() == {"loss"}
    with pytest.raises(UserError, match="give it those of the front end"):
        model(voice_dim=16)
    speech.begin_vocabulary("words")
    assert len(speech.voice.tokenizer) == len(speech.tokenizer) == 3


def test_an_answer_is_the_same_alone_and_in_a_batch_and_as_fast_as_it_is_asked_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    speech = model().eval()
    # Nothing is learned yet: every token lasts a step. Here it is about three.
    monkeypatch.setattr(speech.voice.durations, "forward", lambda x, _: x.sum(2) * 0 + 1.386)
    sounds, samples = padded([harmonic(200.0, 0.3), harmonic(300.0, 0.2)])
    both = speech.answer(sounds, samples)
    alone = speech.answer(sounds[1:, : int(samples[1])])
    steps = int(alone.lengths[0])
    assert both.lengths[1] == steps
    torch.testing.assert_close(both.features[1, :steps], alone.features[0], rtol=1e-4, atol=1e-4)
    assert both.durations is not None
    assert torch.equal(both.durations.sum(1), both.lengths)
    slow = speech.answer(sounds, samples, manner=Manner(speed=0.25))
    assert (slow.lengths > both.lengths).all()


def anywhere(emitted: Tensor, links: Tensor, tokens: Tensor, vertices: Tensor) -> Tensor:
    """Returns that every token is said at every vertex alike."""
    place = torch.arange(emitted.shape[2]) < vertices[:, None]
    return (place / vertices[:, None])[:, None].expand_as(emitted)


def read_and_spoken(speech: DASpeech, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    """Returns what the voice learns from, and what it speaks from later, where one path alone says the text."""
    torch.manual_seed(0)
    batch, _ = heard(speech, 1, torch.Generator().manual_seed(1))
    tokens, _ = framed(speech.tokenizer, batch.targets, batch.target_lengths)
    path = [0, 2, 3, 5]
    log_probs, links = (
        torch.full((1, 6, len(speech.tokenizer)), NEVER),
        torch.full((1, 6, 6), NEVER),
    )
    for token, vertex in enumerate(path):
        log_probs[0, vertex, tokens[0, token]] = 0.0
    links[0, path[:-1], path[1:]] = 0.0
    graph = Graph(torch.randn(1, 6, 32), log_probs, links, torch.tensor([6]))
    seen: list[Tensor] = []

    def learned(vectors: Tensor, *_: Tensor) -> dict[str, Tensor]:
        seen.append(vectors)
        return {"loss": vectors.sum()}

    def said(vectors: Tensor, lengths: Tensor, **_: object) -> Spoken:
        seen.append(vectors)
        return Spoken(vectors, lengths, None)

    monkeypatch.setattr(speech, "taught", lambda *_: (graph, {"loss": torch.zeros(())}))
    monkeypatch.setattr(speech.voice, "taught", learned)
    monkeypatch.setattr(speech.voice, "say", said)
    monkeypatch.setattr(speech, "forward", lambda *_: graph)
    speech.loss(batch)
    speech.answer(harmonic(200.0, 0.3)[None])
    assert speech.paths(graph) == [path]
    learned_from, spoken_from = seen
    return learned_from, spoken_from


def test_the_voice_learns_from_where_tokens_lie_on_the_paths_as_it_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned, spoken = read_and_spoken(model(), monkeypatch)
    torch.testing.assert_close(learned, spoken)
    # From all vertices alike it would learn from what it never reads.
    monkeypatch.setattr(daspeech, "graph_places", anywhere)
    learned, spoken = read_and_spoken(model(), monkeypatch)
    assert (learned - spoken).abs().max() > 0.01
