"""When each word was said: the path that cross-attention takes through a window."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headway.core.taps import record

if TYPE_CHECKING:
    from headway.speech.models.whisper.model import Whisper

# Frames of the median filter, and languages that put no spaces between words.
SMOOTHED = 7
SPACELESS = frozenset(("zh", "ja", "th", "lo", "my", "yue"))
# What stands at a word and is none, in front of it and behind.
_OPENING, _CLOSING = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001
_SENTENCE_END = ".。!！?？"  # noqa: RUF001
# A word at a pause is no longer than so many times the usual word, which is no longer than this, in seconds.
_LONGEST, _USUAL = 2.0, 0.7


@dataclass
class TimedWord:
    """A word of a window.

    Args:
        text: With the space in front of it.
        tokens: What it is made of.
        start: In seconds from the beginning of the window.
        end: The same.
        probability: Mean of its tokens.
    """

    text: str
    tokens: list[int]
    start: float
    end: float
    probability: float


def timed_words(
    model: "Whisper",
    encoded: Tensor,
    lengths: Sequence[int],
    texts: Sequence[Sequence[int]],
    languages: Sequence[str | None],
    task: str,
) -> list[list[TimedWord]]:
    """Returns the words of windows with their times; the decoder reads what it has written once more.

    Args:
        model: The model.
        encoded: What it heard.
        lengths: Tokens of the encoder that are no filling.
        texts: What was written, marks of time left out.
        languages: Of each window.
        task: As it was written.

    Shape:
        encoded: (B, T', C).

    Source:
        Radford et al. 2022, code of 2023: dynamic time warping over chosen heads of the cross-attention.
    """
    found: list[list[TimedWord]] = [[] for _ in texts]
    spoken = [place for place, text in enumerate(texts) if text and lengths[place] > 0]
    if not spoken:
        return found
    marks = model.marks
    prompts = [
        marks.prompt(language=languages[place], task=task, timestamps=False) for place in spoken
    ]
    rows = [
        [*prompt, *texts[place], marks.end] for prompt, place in zip(prompts, spoken, strict=True)
    ]
    rows = [row[: model.max_length] for row in rows]
    longest = max(map(len, rows))
    tokens = torch.tensor([[*row, *[marks.end] * (longest - len(row))] for row in rows])
    context = encoded[torch.tensor(spoken, device=encoded.device)]
    attention, logits = _attended(model, tokens.to(encoded.device), context)
    for place, row, prompt, maps, scores in zip(
        spoken, rows, prompts, attention, logits, strict=True
    ):
        first, text = len(prompt), row[len(prompt) : -1]
        if not text:
            continue
        shares = scores[first - 1 : first - 1 + len(text), : marks.end].float().softmax(dim=-1)
        sure = shares.gather(1, torch.tensor(text, device=shares.device)[:, None])[:, 0].tolist()
        # As in the published code, what stands in front of a token is what looks for it.
        cost = _smoothed(maps[:, : len(row), : lengths[place]])[first - 1 : first + len(text)]
        begins = _begins(-cost.cpu().double().numpy()) * model.seconds_per_token
        found[place] = _words(model, text, begins, sure, languages[place])
    return found


def _attended(model: "Whisper", tokens: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """Returns attention of the chosen heads, (B, heads, L, T'), and logits, (B, L, V)."""
    blocks = len(model.decoder.decoder.blocks)
    chosen = model.alignment_heads
    if not chosen:
        heads = model.init_args["heads"]
        chosen = [(n, head) for n in range(blocks // 2, blocks) for head in range(heads)]
    with torch.no_grad(), record(model.decoder, "queries", "keys") as taken:
        logits = model.decoder(tokens, context=context)
    maps = []
    for block, head in chosen:
        name = f"decoder.blocks.{block}.cross.function"
        query, key = (taken[kind][name][0][:, head].float() for kind in ("queries", "keys"))
        maps.append((query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1))
    return torch.stack(maps, dim=1), logits


def _smoothed(weights: Tensor) -> Tensor:
    """Returns how much each token looks at each moment, (L, T'), of the attention of heads (H, L, T')."""
    weights = weights / weights.sum(dim=-1, keepdim=True)
    spread, mean = torch.std_mean(weights, dim=-2, keepdim=True, correction=0)
    weights = (weights - mean) / spread.clamp_min(1e-12)
    side = SMOOTHED // 2
    if weights.shape[-1] > side:
        padded = F.pad(weights, (side, side), mode="reflect")
        weights = padded.unfold(-1, SMOOTHED, 1).median(dim=-1).values
    return weights.mean(dim=0)


def _begins(cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns at which column the cheapest monotone path enters each row.

    Args:
        cost: Of each cell; a path goes from the first one to the last by a row, a column, or both.
    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for row in range(rows):
        # Within a row the path runs to the right: the sum to here, less that to where it came in.
        run = cost[row].cumsum()
        entered = np.minimum(total[row, :-1], total[row, 1:])
        total[row + 1, 1:] = run + np.minimum.accumulate(entered - (run - cost[row]))
    begins = np.zeros(rows)
    row, column = rows, columns
    while row > 0:
        begins[row - 1] = column - 1
        if column == 1:
            row -= 1
            continue
        both, up, left = total[row - 1, column - 1], total[row - 1, column], total[row, column - 1]
        if both < up and both < left:
            row, column = row - 1, column - 1
        elif up < both and up < left:
            row -= 1
        else:
            column -= 1
            continue
    return begins


def _words(
    model: "Whisper",
    text: Sequence[int],
    begins: NDArray[np.float64],
    sure: Sequence[float],
    language: str | None,
) -> list[TimedWord]:
    words, place = [], 0
    for piece, tokens in split_words(model, text, language):
        end = place + len(tokens)
        shares = sure[place:end]
        words.append(
            TimedWord(
                piece, tokens, float(begins[place]), float(begins[end]), sum(shares) / len(shares)
            )
        )
        place = end
    _shorten(words)
    return _joined(words)


def split_words(
    model: "Whisper", text: Sequence[int], language: str | None
) -> list[tuple[str, list[int]]]:
    """Returns words and their tokens; a space or a mark begins one, in some languages every letter does."""
    marks, pieces, open_ = model.marks, [], []
    for token in text:
        open_.append(token)
        letters = marks.text(open_)
        if "\N{REPLACEMENT CHARACTER}" not in letters:  # not in the middle of a letter
            pieces.append((letters, open_))
            open_ = []
    if open_:
        pieces.append((marks.text(open_), open_))
    if language in SPACELESS:
        return pieces
    words: list[tuple[str, list[int]]] = []
    for letters, tokens in pieces:
        bare = letters.strip()
        mark = bool(bare) and all(unicodedata.category(one).startswith("P") for one in bare)
        if letters.startswith(" ") or mark or not words:
            words.append((letters, tokens))
        else:
            words[-1] = (words[-1][0] + letters, [*words[-1][1], *tokens])
    return words


def _shorten(words: Sequence[TimedWord]) -> None:
    """Cuts words that a pause has made long: the end of a sentence, and what follows it."""
    lengths = [word.end - word.start for word in words if word.end > word.start]
    if not lengths:
        return
    limit = _LONGEST * min(_USUAL, float(np.median(lengths)))
    for place, word in enumerate(words):
        if word.end - word.start <= limit:
            continue
        if word.text.strip() in _SENTENCE_END:
            word.end = word.start + limit
        elif place == 0 or words[place - 1].text.strip()[-1:] in tuple(_SENTENCE_END):
            word.start = word.end - limit
        elif place + 1 == len(words) or words[place + 1].text.strip() in _SENTENCE_END:
            word.end = word.start + limit


def _joined(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Puts marks to the words that they belong to; a word keeps its own times."""
    kept: list[TimedWord] = []
    opening: list[TimedWord] = []
    for word in words:
        bare = word.text.strip()
        if bare and word.text.startswith(" ") and all(one in _OPENING for one in bare):
            opening.append(word)
            continue
        if kept and bare and not word.text.startswith(" ") and all(x in _CLOSING for x in bare):
            kept[-1].text += word.text
            kept[-1].tokens += word.tokens
            continue
        for mark in reversed(opening):
            word.text, word.tokens = mark.text + word.text.lstrip(), mark.tokens + word.tokens
        opening = []
        kept.append(word)
    return [*kept, *opening]
