"""What a synthesiser predicts of each token: its duration, its pitch, its energy."""

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.speech.layers.padding import zero_beyond


class VariancePredictor(Module):
    """Two convolutions over the tokens, each with ReLU, norm and dropout, and a number for each token.

    Args:
        dim: Channels of a token.
        hidden_dim: Channels between; ``dim`` if None.
        kernel: Tokens that a convolution sees, odd.
        dropout: Probability of dropping a channel in training.

    Shape:
        x: (B, U, dim). lengths: (B,). Output: (B, U).

    Source:
        Ren et al. 2020 (FastSpeech 2), https://arxiv.org/abs/2006.04558, section 2.3.
    """

    def __init__(
        self, dim: int, *, hidden_dim: int | None = None, kernel: int = 3, dropout: float = 0.5
    ) -> None:
        super().__init__()
        hidden = hidden_dim or dim
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, hidden, kernel, padding=kernel // 2) for width in (dim, hidden)
        )
        self.norms = nn.ModuleList(LayerNorm(hidden) for _ in range(2))
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Predicts."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = convolution(zero_beyond(x, lengths).transpose(1, 2)).transpose(1, 2)
            x = self.dropout(norm(x.relu()))
        return self.head(x).squeeze(2)
