"""Recordings of any length: pieces, windows that move on, words with times."""

import itertools
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import small_whisper as small
import torch
from small_whisper import NUMBERS

from headway.core.weights import from_pretrained
from headway.speech.models.whisper import Whisper, WhisperSearch
from headway.speech.models.whisper.alignment import TimedWord, _begins, _joined, split_words
from headway.speech.models.whisper.recordings import Piece, cut, transcribe_recordings
from headway.speech.models.whisper.search import Answer

ZERO = NUMBERS["<|0.00|>"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    folder = tmp_path_factory.mktemp("small")
    small.make_whisper(folder)
    loaded = from_pretrained(folder).eval()
    assert isinstance(loaded, Whisper)
    return loaded


def answer(tokens: list[int]) -> Answer:
    return Answer(tokens=tokens, log_prob=-0.1, silence=0.0, compression=1.0, temperature=0.0)


def bounds(pieces: list[Piece]) -> list[float]:
    return [time for one in pieces for time in (one.start, one.end)]


def test_a_window_is_cut_where_two_marks_stand_and_goes_on_behind_the_last_pair(
    model: Whisper,
) -> None:
    at = [ZERO + step for step in (0, 10, 12, 20, 25)]
    pieces, seconds, alone = cut(
        model.marks, answer([at[0], 1, 2, at[1], at[2], 3, at[3], at[4], 4]), 7.0, 1.0
    )
    assert bounds(pieces) == pytest.approx([7.0, 7.2, 7.24, 7.4])
    assert [one.tokens[1:-1] for one in pieces] == [[1, 2], [3]]
    assert seconds == pytest.approx(0.4)
    assert not alone
    whole = cut(model.marks, answer([at[0], 1, at[1], at[2], 3, at[3]]), 7.0, 1.0)
    assert bounds(whole[0]) == pytest.approx([7.0, 7.2, 7.24, 7.4])
    assert whole[1:] == (None, True)
    [single], step, _ = cut(model.marks, answer([at[0], 1, 2, at[3]]), 0.0, 1.0)
    assert (single.end, step) == (pytest.approx(0.4), None)
    [open_], _, _ = cut(model.marks, answer([at[0], 1, 2]), 0.0, 0.7)
    assert open_.end == pytest.approx(0.7)


@pytest.mark.parametrize("words", [False, True])
def test_transcripts_do_not_depend_on_the_batch_and_windows_move_on(
    model: Whisper, words: bool
) -> None:
    generator = torch.Generator().manual_seed(3)
    recordings = [torch.randn(count, generator=generator) for count in (56000, 9000, 30000, 160)]
    search = WhisperSearch(
        language="fr", temperatures=(0.0,), words=words, silence=None, log_prob=None
    )
    together = dict(transcribe_recordings(model, recordings, search=search, batch_size=3))
    alone = dict(transcribe_recordings(model, recordings, search=search, batch_size=1))
    assert sorted(together) == [0, 1, 2, 3]
    for place, one in together.items():
        assert one.text == alone[place].text
        assert one.tokens == alone[place].tokens
        assert one.confidence == pytest.approx(alone[place].confidence, rel=1e-4)
    assert together[0].segments[-1].end > 1.0  # behind the first window
    spoken = [word for one in together.values() for part in one.segments for word in part.words]
    assert bool(spoken) == words
    assert all(word.end >= word.start >= 0 for word in spoken)


def test_a_short_recording_is_heard_as_the_front_end_makes_it(model: Whisper) -> None:
    samples = torch.randn(9000, generator=torch.Generator().manual_seed(5))
    taken: list[Any] = []
    encode = model.encode
    spy = SimpleNamespace(encode=lambda *given: taken.append(given) or encode(*given))
    model.__dict__["encode"] = spy.encode
    try:
        list(transcribe_recordings(model, [samples], search=WhisperSearch(language="de")))
    finally:
        del model.__dict__["encode"]
    front = model.front_end(samples[None], torch.tensor([9000]))
    torch.testing.assert_close(taken[0][0], front.inputs, atol=1e-6, rtol=0)
    assert taken[0][1].tolist() == front.lengths.tolist() == [56]


def cheapest(cost: np.ndarray) -> float:
    @cache
    def best(row: int, column: int) -> float:
        if row < 0 or column < 0:
            return 0.0 if (row, column) == (-1, -1) else np.inf
        before = min(best(row - 1, column - 1), best(row - 1, column), best(row, column - 1))
        return cost[row, column] + before

    return best(cost.shape[0] - 1, cost.shape[1] - 1)


@pytest.mark.parametrize("seed", range(6))
def test_the_path_through_the_attention_is_the_cheapest(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    cost = drawn.standard_normal((drawn.integers(1, 6), drawn.integers(1, 9)))
    begins = _begins(cost).astype(int)
    assert begins[0] == 0
    rows, columns = cost.shape
    bounds = [*begins, columns - 1]
    # A row is left in the column before the next one begins, or in the same.
    ways = itertools.product(
        *([max(bounds[r], bounds[r + 1] - 1), bounds[r + 1]] for r in range(rows - 1))
    )
    sums = [
        sum(cost[r, bounds[r] : end + 1].sum() for r, end in enumerate((*way, columns - 1)))
        for way in ways
    ]
    assert min(sums) == pytest.approx(cheapest(cost))


def test_words_begin_at_spaces_and_marks_go_with_them(model: Whisper) -> None:
    numbers = [NUMBERS[name] for name in ("Ġa", "b", "Ġc", ".", "d")]
    assert split_words(model, numbers, "en") == [
        (" ab", numbers[:2]),
        (" c", numbers[2:3]),
        (".d", numbers[3:]),
    ]
    assert len(split_words(model, numbers, "zh")) == 5
    parts = [(" “", 1.0), (" So", 1.1), (",", 1.5), (" it", 2.0), ("!", 2.4)]
    found = _joined([TimedWord(text, [0], at, at + 0.2, 1.0) for text, at in parts])
    assert [word.text for word in found] == [" “So,", " it!"]
    assert [word.start for word in found] == [1.1, 2.0]


def test_what_is_unlikely_or_repeats_itself_is_tried_again_and_silence_is_not() -> None:
    search = WhisperSearch()
    good, unlikely = (
        answer([1]),
        Answer(tokens=[], log_prob=-1.5, silence=0.1, compression=1.0, temperature=0),
    )
    again = Answer(tokens=[], log_prob=-0.1, silence=0.1, compression=3.0, temperature=0)
    nobody = Answer(tokens=[], log_prob=-1.5, silence=0.9, compression=1.0, temperature=0)
    assert [one.believed(search) for one in (good, unlikely, again, nobody)] == [
        True,
        False,
        False,
        True,
    ]
    assert [one.is_silence(search) for one in (good, unlikely, again, nobody)] == [
        False,
        False,
        False,
        True,
    ]
