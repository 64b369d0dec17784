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
    found = []
    for item, length in enumerate(lengths.tolist()):
        path = BestPath(blank)
        path.add(best[item, :length], scores[item, :length])
        found.append(path.reading())
    return found


class BestPath:
    """The best path as far as it is known: a token that goes on in what comes next is the same one.

    Args:
        blank: Token that stands for nothing.
    """

    def __init__(self, blank: int) -> None:
        self.blank, self.last = blank, blank
        self.tokens: list[int] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.log_probs: list[float] = []
        self.silence: list[float] = []
        self.length = 0

    def add(self, best: Tensor, scores: Tensor) -> None:
        """Goes on.

        Args:
            best: The best token of each moment, (T,).
            scores: Its log-probability, (T,).
        """
        found, counts = torch.unique_consecutive(best, return_counts=True)
        start = 0
        for token, count in zip(found.tolist(), counts.tolist(), strict=True):
            part = scores[start : start + count]
            start += count
            self.length += count
            if token == self.blank:
                # Of use only as long as there is no token.
                self.silence += [] if self.tokens else part.tolist()
            elif token == self.last:
                self.ends[-1] = self.length
                self.log_probs[-1] = max(self.log_probs[-1], float(part.max()))
            else:
                self.tokens.append(token)
                self.starts.append(self.length - count)
                self.ends.append(self.length)
                self.log_probs.append(float(part.max()))
            self.last = token

    def reading(self) -> Reading:
        """Returns what was heard so far."""
        log_probs = self.log_probs if self.tokens else self.silence
        return Reading(
            list(self.tokens), list(self.starts), list(self.ends), list(log_probs), sum(log_probs)
        )
