"""Texts from the log-probabilities of CTC: the likeliest ones, and where a text lies in time."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.decoding.guides import Guide, Guides, Text
from headway.speech.decoding.reading import Reading


@torch.no_grad()
def prefix_beam_search(
    log_probs: Tensor,
    *,
    blank: int = 0,
    beams: int = 16,
    best: int = 1,
    guides: Sequence[Guide] = (),
) -> list[Reading]:
    """Returns the likeliest texts of one recording, each with all its alignments that the beams keep.

    Args:
        log_probs: Of the entries at each token of the encoder.
        blank: Entry that stands for nothing.
        beams: Texts that are kept at each token.
        best: Texts that are returned at most.
        guides: What else knows which texts are likely.

    Shape:
        log_probs: (T, V).

    Source:
        Graves and Jaitly 2014, https://proceedings.mlr.press/v32/graves14.html, algorithm 1; Hannun et al.
        2014, https://arxiv.org/abs/1408.2873, algorithm 1 (with a language model).
    """
    if beams < 1 or best < 1:
        raise UserError(f"beams {beams} and best {best} must be at least 1")
    log_probs = log_probs.double().cpu()
    entries, known = log_probs.shape[1], Guides(guides)
    texts: list[Text] = [()]
    # Log-probabilities of the alignments so far that end in the blank, and in the text's last entry.
    in_blank, in_last = torch.zeros(1, dtype=torch.float64), torch.full((1,), -torch.inf).double()
    for now in log_probs:
        both = torch.logaddexp(in_blank, in_last)
        last = torch.tensor([text[-1] if text else blank for text in texts])
        longer = both[:, None] + now
        # The same entry once more is a new one behind a blank alone.
        longer[torch.arange(len(texts)), last] = in_blank + now[last]
        longer[:, blank] = -torch.inf
        again = torch.where(last == blank, -torch.inf, in_last + now[last])
        places = {text: place for place, text in enumerate(texts)}
        for place, text in enumerate(texts):
            parent = places.get(text[:-1]) if text else None
            if parent is not None:
                again[place] = torch.logaddexp(again[place], longer[parent, text[-1]])
                longer[parent, text[-1]] = -torch.inf
        still = both + now[blank]
        totals = torch.tensor([known.total(text) for text in texts], dtype=torch.float64)
        rank = torch.cat(
            [
                torch.logaddexp(still, again) + totals,
                (longer + totals[:, None] + known.of(texts, entries)).flatten(),
            ]
        )
        kept = rank.topk(min(beams, len(rank))).indices
        kept = kept[~torch.isneginf(rank[kept])]
        size = len(texts)
        chosen = [divmod(number - size, entries) for number in kept.tolist()]
        texts = [
            texts[number] if number < size else (*texts[row], entry)
            for number, (row, entry) in zip(kept.tolist(), chosen, strict=True)
        ]
        nothing = torch.full((size * entries,), -torch.inf, dtype=torch.float64)
        in_blank = torch.cat([still, nothing])[kept]
        in_last = torch.cat([again, longer.flatten()])[kept]
    scores = torch.logaddexp(in_blank, in_last).tolist()
    ranked = sorted(
        (
            (score + known.total(text, ended=True), text)
            for score, text in zip(scores, texts, strict=True)
        ),
        key=lambda pair: (-pair[0], pair[1]),
    )
    return [aligned(log_probs, text, blank=blank, score=score) for score, text in ranked[:best]]


@torch.no_grad()
def aligned(log_probs: Tensor, text: Sequence[int], *, blank: int, score: float) -> Reading:
    """Returns where a text lies in a recording: the likeliest alignment.

    Args:
        log_probs: Of the entries at each token of the encoder.
        text: Entries of the text.
        blank: Entry that stands for nothing.
        score: Of the result.

    Shape:
        log_probs: (T, V).

    Raises:
        UserError: If the recording is too short for the text.
    """
    if not text:
        return Reading((), (), (), (), score)
    if len(log_probs) < needed_tokens(text):
        raise UserError(
            f"a text of {len(text)} entries needs {needed_tokens(text)} tokens, there are {len(log_probs)}"
        )
    log_probs = log_probs.detach().cpu()
    # Blank, entry, blank, entry, ..., blank; a path may leave a blank out between different entries.
    states = torch.full((2 * len(text) + 1,), blank)
    states[1::2] = torch.tensor(text)
    leap = torch.zeros(len(states), dtype=torch.bool)
    leap[3::2] = states[3::2] != states[1:-2:2]
    emitted = log_probs[:, states]
    best = torch.full((len(states),), -torch.inf, dtype=emitted.dtype)
    best[:2] = emitted[0, :2]
    came = []
    for now in emitted[1:]:
        one = torch.cat([best.new_full((1,), -torch.inf), best[:-1]])
        two = torch.cat([best.new_full((2,), -torch.inf), best[:-2]]).masked_fill(~leap, -torch.inf)
        best, step = torch.stack([best, one, two]).max(0)
        came.append(step)
        best = best + now
    state = len(states) - 1 - int(best[-2] > best[-1])
    path = [state]
    for step in reversed(came):
        state -= int(step[state])
        path.append(state)
    path.reverse()
    frames, ends, sure = [], [], []
    for place in range(len(text)):
        at = [frame for frame, state in enumerate(path) if state == 2 * place + 1]
        frames.append(at[0])
        ends.append(at[-1] + 1)
        sure.append(float(log_probs[at, text[place]].max()))
    return Reading(tuple(text), frames, ends, sure, score)


def needed_tokens(entries: Sequence[int]) -> int:
    """Returns the least number of tokens that CTC needs: one for each entry and each repetition."""
    return len(entries) + sum(a == b for a, b in itertools.pairwise(entries))
