"""Where a transducer brings together what it hears and what it has written."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.module import Module


class JointNetwork(Module):
    """Adds a projection of what is heard to one of what was written, and scores every entry.

    Args:
        encoded_dim: Channels of what is heard.
        predicted_dim: Channels of what was written.
        entries: Entries of the vocabulary.
        durations: Durations that are scored behind them.
        dim: Channels in between.
        activation: Builds the function in between.
        dropout: Probability of dropping a channel in front of the scores in training.

    Shape:
        encoded: (B, T, 1, encoded_dim). predicted: (B, 1, U, predicted_dim).
        Output: (B, T, U, entries + durations).

    Source:
        Graves et al. 2013, https://arxiv.org/abs/1303.5778, section 2.2.
    """

    def __init__(
        self,
        encoded_dim: int,
        predicted_dim: int,
        entries: int,
        durations: int = 0,
        *,
        dim: int = 256,
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"dim is {dim}; a joint network has at least 1 channel")
        self.encoded = nn.Linear(encoded_dim, dim)
        self.predicted = nn.Linear(predicted_dim, dim)
        self.activation = activation()
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(dim, entries)
        self.lasting = nn.Linear(dim, durations) if durations else None

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Returns the scores."""
        x = self.activation(self.encoded(encoded) + self.predicted(predicted))
        x = self.dropout(x)
        scores = self.out(x)
        return scores if self.lasting is None else torch.cat([scores, self.lasting(x)], dim=-1)
