"""Searches over CTC against the sum over all alignments, and what guides change."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.language import DecoderLanguageModel, SymbolTokenizer
from headway.speech.decoding import (
    HotWords,
    LanguageGuide,
    PrefixScores,
    aligned,
    needed_tokens,
    prefix_beam_search,
)
from headway.speech.tokenizers import TextTokenizer


def collapsed(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    return tuple(entry for entry, _ in itertools.groupby(path) if entry != blank)


def all_texts(log_probs: Tensor, blank: int) -> dict[tuple[int, ...], float]:
    """The probability of every text by walking every alignment."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        score = sum(float(now[entry]) for now, entry in zip(log_probs, path, strict=True))
        text = collapsed(path, blank)
        found[text] = found.get(text, 0.0) + math.exp(score)
    return found


def heard(frames: int, entries: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(frames, entries, generator=generator, dtype=torch.float64)
    return scores.log_softmax(-1)


@pytest.mark.parametrize("blank", [0, 2])
def test_the_best_texts_are_those_of_all_alignments(blank: int) -> None:
    log_probs = heard(5, 4)
    wanted = all_texts(log_probs, blank)
    best = sorted(wanted, key=lambda text: -wanted[text])[:20]
    found = prefix_beam_search(log_probs, blank=blank, beams=1000, best=20)
    assert [one.tokens for one in found] == best
    scores = torch.tensor([one.score for one in found]).exp()
    torch.testing.assert_close(scores, torch.tensor([wanted[text] for text in best]))
    # The best path alone, which greedy decoding takes, is another text here.
    greedy = collapsed(tuple(log_probs.argmax(1).tolist()), blank)
    narrow = prefix_beam_search(log_probs, blank=blank, beams=4)
    assert wanted[narrow[0].tokens] >= wanted[greedy]


def test_alignments_of_a_text_are_joined() -> None:
    """Two alignments at 0.25 and 0.24 are likelier than one at 0.36, which greedy decoding takes."""
    log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    assert collapsed(tuple(log_probs.argmax(1).tolist()), 0) == ()
    [found] = prefix_beam_search(log_probs)
    assert found.tokens == (1,)
    assert found.score == pytest.approx(math.log(0.64))


def test_prefix_scores_sum_over_all_texts_that_begin_so() -> None:
    short, long = heard(4, 4, 1), heard(5, 4, 2)
    both = torch.stack([torch.nn.functional.pad(short, (0, 0, 0, 1), value=torch.nan), long])
    scores = PrefixScores(both, torch.tensor([4, 5]))
    rows = torch.arange(2)
    for text in [(), (1,), (1, 1), (2, 1), (1, 2, 2)]:
        state = scores.start()
        for entry in text:
            state = scores.extend(state, torch.full((2,), entry), rows)
        for row, log_probs in enumerate((short, long)):
            wanted = all_texts(log_probs, 0)
            whole = scores.ended(state)[row].exp().item()
            assert whole == pytest.approx(wanted.get(text, 0.0), abs=1e-12)
            for entry in (1, 2, 3):
                longer = (*text, entry)
                begun = sum(p for t, p in wanted.items() if t[: len(longer)] == longer)
                assert scores.of(state, rows)[row, entry].exp().item() == pytest.approx(
                    begun, abs=1e-12
                )


def test_the_alignment_is_the_likeliest() -> None:
    log_probs = heard(6, 3, 3)
    for text in [(1,), (1, 1), (2, 1, 2)]:
        found = aligned(log_probs, text, blank=0, score=0.0)
        paths = [
            path for path in itertools.product(range(3), repeat=6) if collapsed(path, 0) == text
        ]
        best = max(paths, key=lambda p: sum(float(log_probs[t, e]) for t, e in enumerate(p)))
        starts = [t for t, e in enumerate(best) if e and (t == 0 or best[t - 1] != e)]
        assert list(found.frames) == starts
    with pytest.raises(UserError, match="needs 7 tokens, there are 6"):
        aligned(log_probs, (1, 1, 1, 1), blank=0, score=0.0)
    assert needed_tokens((1, 1, 2)) == 4


LETTERS = TextTokenizer(vocabulary=("<blank>", "a", "b"))


def language_model() -> DecoderLanguageModel:
    tokens = ("<pad>", "<bos>", "<eos>", "b", "a")
    tokenizer = SymbolTokenizer(pattern=".", joint="", vocabulary=tokens)
    return DecoderLanguageModel(tokenizer=tokenizer, dim=8, depth=1, heads=2, max_length=12)


def test_a_language_model_is_added_to_every_text() -> None:
    torch.manual_seed(0)
    model = language_model()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    log_probs, weight, per_token = heard(4, 3, 4), 0.7, 0.2
    wanted = {}
    for text, probability in all_texts(log_probs, 0).items():
        if not probability:
            continue
        spelt = "".join(LETTERS.vocabulary[entry] for entry in text)
        tokens = torch.tensor([model.tokenizer.encode(spelt)])
        said = float(model.score(tokens).sum().detach())
        wanted[text] = math.log(probability) + weight * said + per_token * len(text)
    best = sorted(wanted, key=lambda text: -wanted[text])
    guide = LanguageGuide(model, LETTERS, weight=weight, per_token=per_token)
    found = prefix_beam_search(log_probs, beams=1000, best=10, guides=[guide])
    assert [one.tokens for one in found] == best[:10]
    scores = torch.tensor([one.score for one in found])
    torch.testing.assert_close(
        scores, torch.tensor([wanted[text] for text in best[:10]]), rtol=1e-5, atol=1e-5
    )
    plain = prefix_beam_search(log_probs, beams=1000, best=10)
    assert [one.tokens for one in plain] != best[:10]


def test_a_language_model_of_other_tokens_is_refused() -> None:
    model = language_model()
    other = TextTokenizer(vocabulary=("<blank>", "c"))
    with pytest.raises(UserError, match="lacks 1 tokens of the recogniser, such as 'c'"):
        LanguageGuide(model, other)


def test_only_whole_hot_words_count() -> None:
    """Words 12, 123 and 31, a bonus of 1 for each token, by hand."""
    guide = HotWords([(1, 2), (1, 2, 3), (3, 1)], bonus=1.0)
    wanted = {
        (): 0, (1,): 0, (1, 2): 2, (1, 2, 3): 3, (1, 2, 4): 2, (2, 1, 2): 2, (3, 1): 2, (3, 1, 2): 2,
        (1, 2, 1, 2): 4, (1, 1, 2): 2, (1, 2, 3, 1): 3, (4, 4): 0,
    }  # fmt: skip
    for text, worth in wanted.items():
        total, so_far = 0.0, ()
        for entry in text:
            total += float(guide.following([so_far], 5)[0, entry])
            so_far = (*so_far, entry)
        assert total + guide.ending(text) == worth, text


def test_a_hot_word_is_heard_where_it_was_second() -> None:
    log_probs = torch.tensor([[0.1, 0.8, 0.05, 0.05], [0.8, 0.1, 0.05, 0.05], [0.1, 0.0, 0.5, 0.4]])
    log_probs = log_probs.clamp_min(1e-9).log()
    assert prefix_beam_search(log_probs)[0].tokens == (1, 2)
    assert prefix_beam_search(log_probs, guides=[HotWords([(1, 3)])])[0].tokens == (1, 3)
    # The beginning of a word that was not said is no reason to hear it.
    assert prefix_beam_search(log_probs, guides=[HotWords([(1, 3, 3)])])[0].tokens == (1, 2)
