"""What a synthesiser predicts of each token: its duration, its pitch, its energy."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.speech.layers.padding import zero_beyond


class VariancePredictor(Module):
    """Convolutions over the tokens, each with ReLU, norm and dropout, and a number for each token.

    Args:
        dim: Channels of a token.
        hidden_dim: Channels between; ``dim`` if None.
        kernel: Tokens that a convolution sees, odd.
        dropout: Probability of dropping a channel in training.
        depth: Convolutions.
        norm: Builds the norms, ``(hidden_dim)``.

    Raises:
        UserError: If there is no convolution, or its kernel is even.

    Shape:
        x: (B, U, dim). lengths: (B,). Output: (B, U).

    Source:
        Ren et al. 2020 (FastSpeech 2), https://arxiv.org/abs/2006.04558, section 2.3.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden_dim: int | None = None,
        kernel: int = 3,
        dropout: float = 0.5,
        depth: int = 2,
        norm: Callable[[int], nn.Module] = LayerNorm,
    ) -> None:
        super().__init__()
        if depth < 1 or kernel < 1 or kernel % 2 == 0:
            raise UserError(f"depth {depth} must be at least 1, and kernel {kernel} odd")
        hidden = hidden_dim or dim
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, hidden, kernel, padding=kernel // 2)
            for width in (dim, *[hidden] * (depth - 1))
        )
        self.norms = nn.ModuleList(norm(hidden) for _ in range(depth))
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Predicts."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = convolution(zero_beyond(x, lengths).transpose(1, 2)).transpose(1, 2)
            x = self.dropout(norm(x.relu()))
        return self.head(x).squeeze(2)
