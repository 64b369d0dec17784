"""Where a transducer brings together what it hears and what it has written."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.module import Module


class JointNetwork(Module):
    """Adds a projection of what is heard to one of what was written, and scores every entry.

    Args:
        encoded_dim: Channels of what is heard.
        predicted_dim: Channels of what was written.
        scores: Scores of the result: entries of the vocabulary, and durations behind them.
        dim: Channels in between.
        activation: Builds the function in between.
        dropout: Probability of dropping a channel in front of the scores in training.

    Shape:
        encoded: (B, T, 1, encoded_dim). predicted: (B, 1, U, predicted_dim). Output: (B, T, U, scores).

    Source:
        Graves et al. 2013, https://arxiv.org/abs/1303.5778, section 2.2.
    """

    def __init__(
        self,
        encoded_dim: int,
        predicted_dim: int,
        scores: int,
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
        self.out = nn.Linear(dim, scores)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Returns the scores."""
        return self.out(
            self.dropout(self.activation(self.encoded(encoded) + self.predicted(predicted)))
        )
