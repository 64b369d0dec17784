"""Small-E: words of mel features one after the other, and what seeing places in the text is for."""

from functools import partial
from pathlib import Path

import pytest
import torch
from spoken import harmonic
from torch import Tensor, nn

from headway.core.cache import Cache, CacheGroup, CrossCache, RecurrentCache
from headway.core.errors import UserError
from headway.core.generation import Sampling
from headway.core.layout import Layout
from headway.core.mixers import CrossAttention, LearnedDecay, LinearAttention, ScaledFeatures
from headway.core.norms import RMSNorm
from headway.core.weights import from_pretrained, save_pretrained
from headway.speech.batch import SpeechBatch, padded
from headway.speech.front_ends import LogMel
from headway.speech.layers.mel_codes import MelCodes, delayed, undelayed
from headway.speech.layers.position_attention import PositionAwareAttention
from headway.speech.metrics.errors import count_errors
from headway.speech.models import SmallE
from headway.speech.models.fast_speech import framed, spoken_text
from headway.speech.synthesiser import Manner

LETTERS = "abcde"


def voice(codes: partial[MelCodes], **options) -> SmallE:
    small = {"dim": 32, "depth": 1, "text_depth": 1, "heads": 2, "dropout": 0.0, "longest": 12}
    return SmallE(
        **small | options,
        codes=codes,
        tokenizer=spoken_text().extended(LETTERS),
        front_end=LogMel(sample_rate=8000, mels=10, size=256, hop=80, normalise="none"),
    )


def varied(model: SmallE) -> SmallE:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


SEVERAL = partial(MelCodes, frames=2, words=7, levels=3)


def test_levels_come_one_step_after_the_other_and_go_back() -> None:
    codes = torch.tensor([[[1, 2, 3], [4, 5, 6]], [[1, 1, 1], [0, 0, 0]]])
    rows = delayed(codes, torch.tensor([2, 1]), 7)
    assert rows[0].tolist() == [[1, 7, 7], [4, 2, 7], [8, 5, 3], [8, 8, 6], [8, 8, 8]]
    assert rows[1].tolist() == [[1, 7, 7], [8, 1, 7], [8, 8, 1], [8, 8, 8], [8, 8, 8]]
    assert torch.equal(undelayed(rows, 2)[0], codes[0])


def test_words_of_features_are_measured_and_say_more_by_every_level() -> None:
    torch.manual_seed(0)
    features = [torch.randn(1, 4).expand(61, -1) + 0.3 * torch.randn(61, 4) for _ in range(20)]
    errors = []
    for levels in (1, 3):
        part = MelCodes(4, frames=2, words=16, levels=levels)
        assert not part.complete
        part.measure(features)
        assert part.complete
        codes, counts = part.codes(torch.stack(features), torch.full((20,), 61))
        assert counts.tolist() == [31] * 20
        said = part.features(codes)[:, :61]
        errors.append((said - torch.stack(features)).square().mean().item())
    assert errors[1] < 0.6 * errors[0] < 0.1
    with pytest.raises(UserError, match="no recording"):
        part.measure([])


def test_what_follows_comes_from_the_words_before_alone_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    model = varied(voice(SEVERAL))
    tokens, lengths = framed(
        model.tokenizer, torch.tensor([[3, 4, 3], [4, 3, 0]]), torch.tensor([3, 2])
    )
    counts = torch.tensor([5, 3])
    rows = delayed(torch.randint(7, (2, 5, 3)), counts, 7)
    said = model(tokens, lengths, rows, counts)
    assert said.words.shape == (2, 9, 3, 7)
    later = rows.clone()
    later[:, 2] = 0
    changed = model(tokens, lengths, later, counts)
    torch.testing.assert_close(changed.words[:, :3], said.words[:, :3])
    assert (changed.words[:, 3] - said.words[:, 3]).abs().max() > 1e-3
    alone = model(tokens[1:, :4], lengths[1:], rows[1:, :6], counts[1:])
    torch.testing.assert_close(alone.words[0], said.words[1, :7], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alone.ends[0], said.ends[1, :7], rtol=1e-5, atol=1e-5)


def numbers(cache: Cache) -> int:
    """Returns how many numbers a cache holds."""
    if isinstance(cache, CacheGroup):
        return sum(numbers(one) for one in cache)
    if isinstance(cache, CrossCache):
        assert cache.keys is not None
        assert cache.values is not None
        return cache.keys.numel() + cache.values.numel()
    assert isinstance(cache, RecurrentCache), type(cache)
    return cache.state.numel()


def test_step_by_step_is_all_at_once_and_what_is_remembered_does_not_grow() -> None:
    torch.manual_seed(0)
    model = varied(voice(SEVERAL)).double()
    tokens, lengths = framed(
        model.tokenizer, torch.tensor([[3, 4, 3], [4, 3, 0]]), torch.tensor([3, 2])
    )
    counts = torch.tensor([40, 40])
    rows = delayed(torch.randint(7, (2, 40, 3)), counts, 7)
    wanted = model(tokens, lengths, rows, counts)
    cache = model.init_cache(2)
    text, about = model._read(tokens, lengths)
    row, found, held = torch.full((2, 1, 3), 7), [], []
    for place in range(40):
        found.append(model._step(row, text, about, cache).words)
        row = rows[:, place : place + 1]
        held.append(numbers(cache))
    torch.testing.assert_close(torch.cat(found, 1), wanted.words[:, :40])
    assert len(set(held)) == 1


def test_a_text_alone_and_in_a_batch_is_spoken_alike_and_seeds_differ(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = varied(voice(SEVERAL))
    sounds = [harmonic(pitch) for pitch in (120.0, 200.0, 310.0)]
    assert not model.complete
    model.measure(sounds)
    assert model.complete
    tokens, lengths = torch.tensor([[3, 4, 3], [4, 0, 0]]), torch.tensor([3, 1])
    both = model.speak(tokens, lengths)
    assert both.durations is None
    alone = model.speak(tokens[1:, :1], lengths[1:])
    steps = int(alone.lengths[0])
    assert both.lengths[1] == steps
    assert steps % 2 == 0
    torch.testing.assert_close(both.features[1, :steps], alone.features[0])
    assert not both.features[1, steps:].any()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval().speak(tokens, lengths)
    assert torch.equal(again.features, both.features)
    model.seed = 1
    other = model.write(tokens, lengths)[0]
    model.seed = 0
    first = model.write(tokens, lengths)[0]
    assert other.shape != first.shape or not torch.equal(other, first)


def test_it_trains_on_recordings_and_wrong_use_says_so() -> None:
    torch.manual_seed(0)
    model = voice(SEVERAL)
    sounds = [harmonic(pitch) for pitch in (120.0, 200.0, 310.0)]
    model.measure(sounds)
    texts = [torch.tensor([3, 4]), torch.tensor([5]), torch.tensor([6, 7, 3])]
    losses = model.loss(SpeechBatch(*padded(sounds), *padded(texts)))
    losses["loss"].backward()
    assert all(
        parameter.grad is not None and bool(parameter.grad.isfinite().all())
        for parameter in model.parameters()
    )
    tokens, lengths = torch.tensor([[3]]), torch.tensor([1])
    with pytest.raises(UserError, match="leave speed, pitch and energy"):
        model.speak(tokens, lengths, manner=Manner(speed=2))
    with pytest.raises(UserError, match="align with FastSpeech"):
        model.align(torch.zeros(1, 800), torch.tensor([800]), tokens, lengths)
    with pytest.raises(UserError, match="at least one token"):
        voice(SEVERAL, longest=0)
    with pytest.raises(UserError, match="must be even"):
        PositionAwareAttention(7, 1)
    with pytest.raises(UserError, match="needs context="):
        PositionAwareAttention(8, 2)(torch.zeros(1, 2, 8))
    with pytest.raises(UserError, match="both begin at 1"):
        MelCodes(4, frames=0)


def test_what_is_read_follows_from_places_alone() -> None:
    """Of a text of the same token everywhere, keys say nothing: the first place found is the middle."""
    torch.manual_seed(0)
    part = PositionAwareAttention(16, 2).double()
    same = torch.randn(1, 1, 16).double().expand(1, 6, -1)
    x = torch.randn(2, 5, 16).double()
    # Whatever the queries are, the network sees the mean of all places.
    out = part(x, context=same.expand(2, -1, -1), context_layout=Layout())
    torch.testing.assert_close(out[0], out[1])
    text = torch.randn(1, 6, 16).double()
    assert not torch.allclose(*part(x, context=text.expand(2, -1, -1)))


# A state for each head decays as a whole: nothing here asks for more, and it is quicker.
QUICK = partial(
    LinearAttention,
    causal=True,
    feature_map=ScaledFeatures,
    decay=partial(LearnedDecay, per_head=True),
    norm=RMSNorm,
    gate=nn.SiLU,
)
HELD = partial(MelCodes, frames=1, words=2 * len(LETTERS), levels=1)


def stuttering(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns texts in which letters follow themselves, each spoken as its beginning and one or two words more."""
    texts, codes = [], []
    for _ in range(count):
        length = int(torch.randint(3, 7, (), generator=generator))
        letters = torch.randint(len(LETTERS), (length,), generator=generator).tolist()
        again = torch.rand(length, generator=generator) < 0.6
        spoken: list[int] = []
        for place in range(length):
            if place and again[place]:
                letters[place] = letters[place - 1]
            more = int(torch.randint(1, 3, (), generator=generator))
            spoken += [2 * letters[place], *[2 * letters[place] + 1] * more]
        texts.append(torch.tensor(letters) + 3)
        codes.append(torch.tensor(spoken)[:, None])
    return (*padded(texts), *padded(codes))


def lost_and_repeated(reader, seed: int, steps: int = 110) -> float:
    """Returns how many letters are left out or said again, for each letter of a text."""
    torch.manual_seed(seed)
    sampling = Sampling(temperature=0.0)
    model = voice(HELD, reader=reader, mixer=QUICK, sampling=sampling, longest=36)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.2e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.2e-2, total_steps=steps, pct_start=0.15
    )
    for _ in range(steps):
        loss = model.code_loss(*stuttering(24, generator))["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    tokens, lengths, _, _ = stuttering(40, torch.Generator().manual_seed(100 + seed))
    codes, counts = model.eval().write(tokens, lengths)
    lost = 0
    for row in range(len(tokens)):
        wanted = [LETTERS[int(one) - 3] for one in tokens[row, : lengths[row]]]
        said = codes[row, : counts[row], 0].tolist()
        found = count_errors(wanted, [LETTERS[one // 2] for one in said if one % 2 == 0])
        lost += found.deletions + found.insertions
    return lost / int(lengths.sum())


@pytest.mark.learns
def test_attention_to_places_repeats_and_skips_less_than_attention_to_content(
    seed: int, measured
) -> None:
    places = lost_and_repeated(PositionAwareAttention, seed)
    content = lost_and_repeated(CrossAttention, seed)
    measured("letters lost or repeated beside plain attention", places / content, below=0.65)
    measured("letters lost or repeated", places, below=0.5)
