"""Subsampling by depthwise convolutions: few products for eight frames in a token."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.systems import system
from headway.speech.layers.halving import HalvingConvolution, halving_reach
from headway.speech.layers.padding import zero_beyond
from headway.speech.layers.stem import SpeechStem


@system(
    id=None,
    name="FastConformer",
    paper="https://arxiv.org/abs/2305.05084",
    claim="depthwise convolutions make a token of eight frames, equal to Parakeet with copied weights",
    test="packages/speech/tests/models/test_parakeet.py",
)
class StridingSubsampling(SpeechStem):
    """A 3x3 convolution of stride 2, then depthwise ones with one over channels behind each.

    Every convolution of stride 2 leaves half of the frames and bands, rounded up. What lies beyond an item
    is set to zero before each, as if the item stood alone. A token hears ``stride - 1`` frames to either
    side of its first one, or twice as many before it where the convolutions are causal.

    Args:
        dim: Channels of a token.
        features: Features of a frame, such as mel bands.
        channels: Channels of the convolutions.
        stride: Frames of a token, a power of 2.
        scale: Factor of the tokens.
        causal: Whether a token hears no frame behind its first one.
        dropout: Probability of dropping a channel of a token in training.

    Shape:
        inputs: (B, T, features). lengths: (B,). Output: (B, T', dim), and lengths.

    Raises:
        UserError: If the stride is no power of 2 from 2 on.

    Source:
        Rekesh et al. 2023, https://arxiv.org/abs/2305.05084, section 3.1 (FastConformer).
    """

    def __init__(
        self,
        dim: int,
        *,
        features: int = 80,
        channels: int = 256,
        stride: int = 8,
        scale: float = 1.0,
        causal: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if features < 1 or channels < 1:
            raise UserError(f"features {features} and channels {channels} must be at least 1")
        halvings = int(math.log2(max(1, stride)))
        if stride < 2 or 1 << halvings != stride:
            raise UserError(f"stride is {stride}; it is a power of 2 from 2 on")
        self.features = self.bands = features
        self.stride, self.scale, self.causal = stride, scale, causal
        self.first = HalvingConvolution(1, channels, causal=causal)
        self.depthwise = nn.ModuleList(
            HalvingConvolution(channels, channels, groups=channels, causal=causal)
            for _ in range(halvings - 1)
        )
        self.pointwise = nn.ModuleList(
            nn.Conv2d(channels, channels, 1) for _ in range(halvings - 1)
        )
        self.projection = nn.Linear(channels * -(-features // stride), dim)
        self.dropout = Dropout(dropout)

    @property
    def reach(self) -> tuple[int, int]:
        """Frames before and behind its first one that a token hears."""
        return halving_reach(1 + len(self.depthwise), causal=self.causal)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns the lengths, halved and rounded up for each convolution of stride 2."""
        for _ in range(1 + len(self.depthwise)):
            lengths = (lengths + 1) // 2
        return lengths

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolves and projects."""
        if inputs.ndim != 3 or inputs.shape[2] != self.features:
            raise UserError(
                f"got features of shape {tuple(inputs.shape)}; this stem takes (B, T, {self.features})"
            )
        tokens = self.checked_lengths(lengths)
        x = F.relu(self.first(zero_beyond(inputs, lengths)[:, None]))
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            lengths = (lengths + 1) // 2
            x = F.relu(pointwise(depthwise(zero_beyond(x, lengths, axis=2))))
        x = self.projection(x.transpose(1, 2).flatten(2))
        return self.dropout(x * self.scale), tokens
