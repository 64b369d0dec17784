"""From the scores of a recogniser to its words."""

from typing import NamedTuple

import torch
from torch import Tensor


class Hypothesis(NamedTuple):
    """What was heard in one recording.

    Args:
        entries: Entries of the vocabulary.
        frames: At which token of the encoder each begins.
        confidence: Geometric mean of the probabilities of the entries, each at its surest token; without
            any entry that of the blank over all tokens.
    """

    entries: list[int]
    frames: list[int]
    confidence: float


def greedy(log_probs: Tensor, lengths: Tensor, *, blank: int = 0) -> list[Hypothesis]:
    """Takes the best entry at every token, joins equal neighbours and drops the blank.

    Args:
        log_probs: Log-probabilities.
        lengths: Real tokens of each item.
        blank: Entry that stands for nothing.

    Shape:
        log_probs: (B, T', V). lengths: (B,).

    Source:
        Graves et al. 2006, section 3.2 (best path decoding).
    """
    scores, best = log_probs.max(dim=-1)
    return [
        _collapse(best[item, :length], scores[item, :length], blank)
        for item, length in enumerate(lengths.tolist())
    ]


def _collapse(best: Tensor, scores: Tensor, blank: int) -> Hypothesis:
    entries, counts = torch.unique_consecutive(best, return_counts=True)
    ends = counts.cumsum(0).tolist()
    found: list[int] = []
    frames: list[int] = []
    surest: list[Tensor] = []
    for entry, count, end in zip(entries.tolist(), counts.tolist(), ends, strict=True):
        if entry != blank:
            found.append(entry)
            frames.append(end - count)
            surest.append(scores[end - count : end].max())
    sure = torch.stack(surest) if surest else scores
    return Hypothesis(found, frames, float(sure.mean().exp()) if len(sure) else 0.0)
