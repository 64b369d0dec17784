"""The best path of connectionist temporal classification."""

from typing import NamedTuple

import torch
from torch import Tensor


class Path(NamedTuple):
    """A way through the tokens of an encoder.

    Args:
        tokens: Tokens of the text.
        frames: At which token of the encoder each begins.
        ends: At which token of the encoder each has ended.
        log_probs: Log-probability of each, where it is surest; without any token those of the blank.
    """

    tokens: list[int]
    frames: list[int]
    ends: list[int]
    log_probs: list[float]


def greedy(log_probs: Tensor, lengths: Tensor, *, blank: int) -> list[Path]:
    """Takes the best token every time, joins equal neighbours and drops the blank.

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


def _collapse(best: Tensor, scores: Tensor, blank: int) -> Path:
    tokens, counts = torch.unique_consecutive(best, return_counts=True)
    path = Path([], [], [], [])
    for token, count, end in zip(
        tokens.tolist(), counts.tolist(), counts.cumsum(0).tolist(), strict=True
    ):
        if token != blank:
            path.tokens.append(token)
            path.frames.append(end - count)
            path.ends.append(end)
            path.log_probs.append(float(scores[end - count : end].max()))
    return path if path.tokens else path._replace(log_probs=scores.tolist())
