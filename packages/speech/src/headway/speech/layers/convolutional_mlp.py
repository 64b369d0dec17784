"""The feed-forward of speech synthesis: convolutions over time in the place of linear layers."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import FeedForward
from headway.core.feedforward.base import hidden_width
from headway.core.layout import Layout
from headway.speech.layers.padding import zero_beyond


class ConvolutionalMLP(FeedForward):
    """Two convolutions over time with an activation between them; what lies behind an item is zero.

    Args:
        dim: Channels of a token.
        kernels: Tokens that the first and the second convolution see, odd numbers.
        mlp_ratio: Hidden width as a multiple of ``dim``; ignored if ``hidden_dim`` is given.
        hidden_dim: Hidden width.
        activation: Class of the activation.
        dropout: Probability of dropping a channel in training.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If the kernels are not two odd numbers.

    Source:
        Ren et al. 2019 (FastSpeech), https://arxiv.org/abs/1905.09263, section 3.1.
    """

    stepwise: ClassVar[bool] = False

    def __init__(
        self,
        dim: int,
        *,
        kernels: Sequence[int] = (9, 1),
        mlp_ratio: float = 4.0,
        hidden_dim: int | None = None,
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(kernels) != 2 or any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
            raise UserError(f"kernels is {tuple(kernels)}; give two odd numbers")
        hidden = hidden_width(dim, hidden_dim, mlp_ratio)
        first, second = kernels
        self.first = nn.Conv1d(dim, hidden, first, padding=first // 2)
        self.activation = activation()
        self.second = nn.Conv1d(hidden, dim, second, padding=second // 2)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Convolves over the tokens of each item."""
        lengths = None if layout is None else layout.lengths
        x = _real(x.transpose(1, 2), lengths)
        hidden = _real(self.dropout(self.activation(self.first(x))), lengths)
        return self.dropout(self.second(hidden)).transpose(1, 2)


def _real(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Returns ``x`` (B, C, T) with zeros behind the items."""
    return x if lengths is None else zero_beyond(x, lengths, axis=2)
