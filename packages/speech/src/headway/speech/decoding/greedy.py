"""The best path of connectionist temporal classification."""

import torch
from torch import Tensor

from headway.speech.decoding.reading import Reading


def greedy(log_probs: Tensor, lengths: Tensor, *, blank: int) -> list[Reading]:
    """Takes the best token every time, joins equal neighbours and drops the blank.

    The log-probability of a token is that of its surest moment; where nothing but the blank was heard, those
    of the blank are given.

    Args:
        log_probs: Log-probabilities.
        lengths: Real tokens of each item.
        blank: Token that stands for nothing.

    Shape:
        log_probs: (B, T', V). lengths: (B,).

    Source:
        Graves et al. 2006, section 3.2 (best path decoding).
    """
    scores, best = log_probs.max(dim=-1)
    scores, best = scores.detach().float().cpu(), best.cpu()
    return [
        _collapse(best[item, :length], scores[item, :length], blank)
        for item, length in enumerate(lengths.tolist())
    ]


def _collapse(best: Tensor, scores: Tensor, blank: int) -> Reading:
    found, counts = torch.unique_consecutive(best, return_counts=True)
    tokens: list[int] = []
    frames: list[int] = []
    ends: list[int] = []
    log_probs: list[float] = []
    for token, count, end in zip(
        found.tolist(), counts.tolist(), counts.cumsum(0).tolist(), strict=True
    ):
        if token != blank:
            tokens.append(token)
            frames.append(end - count)
            ends.append(end)
            log_probs.append(float(scores[end - count : end].max()))
    log_probs = log_probs if tokens else scores.tolist()
    return Reading(tokens, frames, ends, log_probs, sum(log_probs))
