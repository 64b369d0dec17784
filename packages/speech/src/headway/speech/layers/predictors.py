"""What a transducer knows of what it has written."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.module import Module

State = tuple[Tensor, ...]
"""What a predictor remembers, each tensor with one row for each text."""


class Predictor(Module):
    """Says what was written before each place, from the entries written so far.

    The place in front of the first entry is that behind the blank, which is written nowhere else.

    Args:
        dim: Channels of the result.
        entries: Entries of the vocabulary.
        blank: The entry that stands for nothing.
    """

    def __init__(self, dim: int, entries: int, *, blank: int) -> None:
        super().__init__()
        self.dim, self.blank = dim, blank
        self.embedding = nn.Embedding(entries, dim)
        truncated_normal_(self.embedding.weight)

    @abstractmethod
    def forward(self, entries: Tensor) -> Tensor:
        """Returns the vectors of all places, (B, U + 1, dim), of entries (B, U)."""

    @abstractmethod
    def begin(self, rows: int, device: torch.device) -> State:
        """Returns what is remembered of empty texts."""

    @abstractmethod
    def step(self, entries: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns the vector behind one more entry of each text (B,), (B, dim), and what is remembered."""

    def start(self, rows: int, device: torch.device) -> tuple[Tensor, State]:
        """Returns the vector of the first place of empty texts, and what is remembered."""
        blanks = torch.full((rows,), self.blank, device=device)
        return self.step(blanks, self.begin(rows, device))

    def from_start(self, entries: Tensor) -> Tensor:
        """Returns entries with the blank in front, (B, U + 1); what is no entry (padding) is the blank."""
        known = (entries >= 0) & (entries < self.embedding.num_embeddings)
        return F.pad(entries.masked_fill(~known, self.blank), (1, 0), value=self.blank)


class StatelessPredictor(Predictor):
    """Remembers the last few entries: their embeddings, and a convolution by channel over them.

    Args:
        dim: Channels of the result.
        entries: Entries of the vocabulary.
        blank: The entry that stands for nothing.
        reach: Entries that are remembered.
        dropout: Probability of dropping a channel of an embedded entry in training.

    Shape:
        entries: (B, U). Output: (B, U + 1, dim).

    Source:
        Ghodsi et al. 2020, https://doi.org/10.1109/ICASSP40776.2020.9054419; the convolution is that of
        icefall's stateless transducers.
    """

    def __init__(
        self, dim: int, entries: int, *, blank: int = 0, reach: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__(dim, entries, blank=blank)
        if reach < 1:
            raise UserError(f"reach is {reach}; at least the last entry is remembered")
        self.reach = reach
        self.convolution = nn.Conv1d(dim, dim, reach, groups=dim, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, entries: Tensor) -> Tensor:
        """Embeds and convolves."""
        written = F.pad(self.from_start(entries), (self.reach - 1, 0), value=self.blank)
        return self._convolved(written)

    def begin(self, rows: int, device: torch.device) -> State:
        """Remembers blanks."""
        return (torch.full((rows, self.reach), self.blank, device=device),)

    def step(self, entries: Tensor, state: State) -> tuple[Tensor, State]:
        """Forgets the oldest entry."""
        written = torch.cat([state[0][:, 1:], entries[:, None]], dim=1)
        return self._convolved(written)[:, -1], (written,)

    def _convolved(self, written: Tensor) -> Tensor:
        x = self.dropout(self.embedding(written)).transpose(1, 2)
        return F.relu(self.convolution(x)).transpose(1, 2)


class RecurrentPredictor(Predictor):
    """Remembers all entries: an LSTM over their embeddings.

    Args:
        dim: Channels of the result, of the embeddings and of the LSTM.
        entries: Entries of the vocabulary.
        blank: The entry that stands for nothing.
        depth: Layers of the LSTM.
        dropout: Probability of dropping a channel of an embedded entry, and between layers, in training.

    Shape:
        entries: (B, U). Output: (B, U + 1, dim).

    Source:
        Graves 2012, https://arxiv.org/abs/1211.3711, section 2.2.
    """

    def __init__(
        self, dim: int, entries: int, *, blank: int = 0, depth: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__(dim, entries, blank=blank)
        between = dropout if depth > 1 else 0.0
        self.lstm = nn.LSTM(dim, dim, depth, batch_first=True, dropout=between)
        self.dropout = Dropout(dropout)

    def forward(self, entries: Tensor) -> Tensor:
        """Reads the entries from left to right."""
        return self.lstm(self.dropout(self.embedding(self.from_start(entries))))[0]

    def begin(self, rows: int, device: torch.device) -> State:
        """Remembers nothing."""
        zeros = self.embedding.weight.new_zeros(rows, self.lstm.num_layers, self.dim)
        return zeros.to(device), zeros.to(device)

    def step(self, entries: Tensor, state: State) -> tuple[Tensor, State]:
        """Reads one entry."""
        hidden, cell = (x.transpose(0, 1).contiguous() for x in state)
        out, (hidden, cell) = self.lstm(self.embedding(entries)[:, None], (hidden, cell))
        return out[:, 0], (hidden.transpose(0, 1), cell.transpose(0, 1))
