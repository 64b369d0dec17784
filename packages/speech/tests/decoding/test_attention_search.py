"""The joint search of a decoder and CTC against all texts."""

import itertools

import pytest
import torch
from torch import Tensor

from headway.core.cache import RecurrentCache
from headway.core.errors import UserError
from headway.speech.decoding import HotWords, PrefixScores, joint_search

# Entry 0 is the blank of CTC and, for the decoder, start and end.
ENTRIES, FRAMES = 4, 3


class Words:
    """A decoder that knows the last two entries, and of which recording they are."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (2, ENTRIES, ENTRIES, ENTRIES)
        self.scores = torch.randn(shape, generator=generator)

    def cache(self) -> RecurrentCache:
        return RecurrentCache(torch.zeros(2, 1))

    def step(self, last: Tensor, cache, rows: Tensor) -> Tensor:
        before = cache.state[:, 0].long()
        cache.state = last[:, None].float()
        return self.scores[rows, before, last]

    def log_prob(self, row: int, text: tuple[int, ...]) -> float:
        total, whole = 0.0, (0, 0, *text, 0)
        for place in range(len(text) + 1):
            scores = self.scores[row, whole[place], whole[place + 1]].log_softmax(-1)
            total += float(scores[whole[place + 2]])
        return total


def ctc_log_prob(log_probs: Tensor, text: tuple[int, ...]) -> float:
    loss = torch.nn.functional.ctc_loss(
        log_probs[:, None],
        torch.tensor([text], dtype=torch.long),
        torch.tensor([len(log_probs)]),
        torch.tensor([len(text)]),
        reduction="none",
    )
    return -float(loss)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("hot", [False, True])
def test_the_best_texts_are_those_of_all(weight: float, hot: bool) -> None:
    words = Words()
    log_probs = torch.randn(2, FRAMES, ENTRIES).log_softmax(-1)
    guides = [HotWords([(1, 2)], bonus=1.0)] if hot else []
    found = joint_search(
        words.step,
        words.cache(),
        PrefixScores(log_probs, torch.full((2,), FRAMES)),
        start=0,
        end=0,
        most=[FRAMES, FRAMES],
        beams=200,
        best=6,
        ctc_weight=weight,
        guides=guides,
    )
    texts = [t for n in range(FRAMES + 1) for t in itertools.product((1, 2, 3), repeat=n)]
    for row in range(2):
        wanted = {}
        for text in texts:
            heard = ctc_log_prob(log_probs[row], text) if weight else 0.0
            written = words.log_prob(row, text) if weight < 1 else 0.0
            extra = 2.0 * sum(pair == (1, 2) for pair in itertools.pairwise(text)) if hot else 0.0
            wanted[text] = weight * heard + (1 - weight) * written + extra
        best = sorted(wanted, key=lambda text: -wanted[text])[:6]
        assert [one.tokens for one in found[row]] == best
        torch.testing.assert_close(
            torch.tensor([one.score for one in found[row]]),
            torch.tensor([wanted[text] for text in best]),
            rtol=1e-4,
            atol=1e-4,
        )


def test_ctc_keeps_the_decoder_from_stopping_early() -> None:

    def step(last: Tensor, cache, rows: Tensor) -> Tensor:
        return torch.tensor([3.0, 0.0, 0.0, 0.0]).expand(len(last), -1)

    log_probs = torch.full((1, 6, 4), -9.0)
    log_probs[0, [0, 2, 4], [1, 2, 3]] = 0.0
    log_probs[0, [1, 3, 5], 0] = 0.0
    options = {"start": 0, "end": 0, "most": [6], "beams": 10}
    ctc = PrefixScores(log_probs.log_softmax(-1), torch.tensor([6]))
    words = Words()
    [[alone]] = joint_search(step, words.cache(), None, **options)
    assert alone.tokens == ()
    [[both]] = joint_search(step, words.cache(), ctc, ctc_weight=0.6, **options)
    assert both.tokens == (1, 2, 3)


def test_wrong_options_are_named() -> None:
    words = Words()
    with pytest.raises(UserError, match="ctc_weight is 2"):
        joint_search(words.step, words.cache(), None, start=0, end=0, most=[1], ctc_weight=2)
    with pytest.raises(UserError, match="beams 0"):
        joint_search(words.step, words.cache(), None, start=0, end=0, most=[1], beams=0)
