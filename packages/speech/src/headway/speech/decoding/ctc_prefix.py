"""What CTC says of the beginning of a text, for a decoder that writes from left to right."""

from typing import NamedTuple

import torch
from torch import Tensor


class PrefixState(NamedTuple):
    """Of each row: alignments of its text so far, by the token at which they are.

    Args:
        in_last: Log-probability of those that are in the last entry, (R, T).
        in_blank: Of those that are in the blank behind it, (R, T).
        last: The last entry, (R,); the blank for an empty text.
    """

    in_last: Tensor
    in_blank: Tensor
    last: Tensor

    def select(self, rows: Tensor) -> "PrefixState":
        """Returns some rows."""
        return PrefixState(*(x[rows] for x in self))


class PrefixScores:
    """Log-probabilities that a recording's text begins with what a row has written, summed over alignments.

    Args:
        log_probs: Of the entries at each token of the encoder, in float32 at least.
        lengths: Real tokens of each row.
        blank: Entry that stands for nothing.

    Shape:
        log_probs: (R, T, V). lengths: (R,).

    Source:
        Watanabe et al. 2017, https://doi.org/10.1109/JSTSP.2017.2763455, algorithm 2.
    """

    def __init__(self, log_probs: Tensor, lengths: Tensor, *, blank: int = 0) -> None:
        frames = torch.arange(log_probs.shape[1], device=log_probs.device)
        beyond = (frames >= lengths[:, None])[..., None]
        # Beyond its end a recording says nothing, for sure: every sum stays as it is there.
        nothing = torch.full_like(log_probs[:1, :1], -torch.inf)
        nothing[..., blank] = 0.0
        self.log_probs = torch.where(beyond, nothing, log_probs)
        self.blank = blank

    def start(self) -> PrefixState:
        """Returns the state of empty texts."""
        in_blank = self.log_probs[..., self.blank].cumsum(1)
        last = torch.full_like(in_blank[:, 0], self.blank, dtype=torch.int64)
        return PrefixState(torch.full_like(in_blank, -torch.inf), in_blank, last)

    def of(self, state: PrefixState, rows: Tensor) -> Tensor:
        """Returns the log-probability of each text with each entry behind it, as a beginning, (R, V).

        Args:
            state: Of the texts.
            rows: Which recording each text is of, (R,).
        """
        before = self._ready(state)  # (R, T): a new entry may begin at each token
        now = self.log_probs[rows]
        scores = (before[..., None] + now).logsumexp(1)
        again = (
            self._ready_again(state)
            + now.gather(2, state.last[:, None, None].expand(-1, now.shape[1], 1))[..., 0]
        )
        scores = scores.scatter(1, state.last[:, None], again.logsumexp(1)[:, None])
        scores[:, self.blank] = -torch.inf
        return scores

    def ended(self, state: PrefixState) -> Tensor:
        """Returns the log-probability of each text as a whole, (R,)."""
        return torch.logaddexp(state.in_last[:, -1], state.in_blank[:, -1])

    def extend(self, state: PrefixState, entries: Tensor, rows: Tensor) -> PrefixState:
        """Returns the state of each text with one more entry, (R,)."""
        heard = self.log_probs[rows]
        said = heard.gather(2, entries[:, None, None].expand(-1, heard.shape[1], 1))[..., 0]
        nothing = heard[..., self.blank]
        same = (entries == state.last)[:, None]
        begins = torch.where(same, self._ready_again(state), self._ready(state))
        in_last, in_blank = [begins[:, 0] + said[:, 0]], [torch.full_like(said[:, 0], -torch.inf)]
        for frame in range(1, heard.shape[1]):
            in_last.append(torch.logaddexp(in_last[-1], begins[:, frame]) + said[:, frame])
            in_blank.append(torch.logaddexp(in_blank[-1], in_last[-2]) + nothing[:, frame])
        return PrefixState(torch.stack(in_last, 1), torch.stack(in_blank, 1), entries)

    def _ready(self, state: PrefixState) -> Tensor:
        """Returns what has written a text before each token, (R, T)."""
        done = torch.logaddexp(state.in_last, state.in_blank)
        return self._before(done, state)

    def _ready_again(self, state: PrefixState) -> Tensor:
        """Returns what has written a text and a blank before each token, (R, T)."""
        return self._before(state.in_blank, state)

    def _before(self, done: Tensor, state: PrefixState) -> Tensor:
        # An empty text is written before the first token.
        first = torch.where(state.last == self.blank, 0.0, -torch.inf).to(done.dtype)
        return torch.cat([first[:, None], done[:, :-1]], dim=1)
