"""Convolutional subsampling of spectral features."""

from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.speech.layers.halving import HalvingConvolution, halving_reach
from headway.speech.layers.padding import zero_beyond
from headway.speech.layers.stem import SpeechStem

Size = TypeVar("Size", int, Tensor)


class ConvolutionSubsampling(SpeechStem):
    """Two 3x3 convolutions of stride 2 over time and frequency: one token for four frames.

    An item of T frames gives ``ceil(ceil(T / 2) / 2)`` tokens. What lies beyond an item is set to zero
    before each convolution, as if the item stood alone. A token hears three frames to either side of its
    first one, or six before it where the convolutions are causal.

    Args:
        dim: Channels of a token.
        features: Features of a frame, such as mel bands.
        channels: Channels of the convolutions.
        causal: Whether a token hears no frame behind its first one.
        dropout: Probability of dropping a channel of a token in training.

    Shape:
        inputs: (B, T, features). lengths: (B,). Output: (B, ceil(ceil(T / 2) / 2), dim), and lengths.

    Source:
        Gulati et al. 2020, https://arxiv.org/abs/2005.08100, section 2 (convolution subsampling).
    """

    def __init__(
        self,
        dim: int,
        *,
        features: int = 80,
        channels: int = 32,
        causal: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if features < 1 or channels < 1:
            raise UserError(f"features {features} and channels {channels} must be at least 1")
        self.features = self.bands = features
        self.stride, self.causal = 4, causal
        self.first = HalvingConvolution(1, channels, causal=causal)
        self.second = HalvingConvolution(channels, channels, causal=causal)
        self.projection = nn.Linear(channels * _half(_half(features)), dim)
        self.dropout = Dropout(dropout)

    @property
    def reach(self) -> tuple[int, int]:
        """Frames before and behind its first one that a token hears."""
        return halving_reach(2, causal=self.causal)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns ``ceil(ceil(T / 2) / 2)``."""
        return _half(_half(lengths))

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolves and projects."""
        if inputs.ndim != 3 or inputs.shape[2] != self.features:
            raise UserError(
                f"got features of shape {tuple(inputs.shape)}; this stem takes (B, T, {self.features})"
            )
        tokens = self.checked_lengths(lengths)
        # Before the first product: zero times NaN is NaN, in the gradient of the weight too.
        x = zero_beyond(inputs, lengths)[:, None]
        x = zero_beyond(F.relu(self.first(x)), _half(lengths), axis=2)
        x = F.relu(self.second(x))
        return self.dropout(self.projection(x.transpose(1, 2).flatten(2))), tokens


def _half(size: Size) -> Size:
    return (size + 1) // 2
