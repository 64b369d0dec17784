"""Gated convolutions over time, which may keep every frame."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.speech.layers.padding import zero_beyond
from headway.speech.layers.stem import SpeechStem


class GatedStem(SpeechStem):
    """Convolutions over time with a gated linear unit behind each.

    What lies beyond an item is set to zero before each, as if the item stood alone.

    Args:
        dim: Channels of a token.
        features: Features of a frame, such as mel bands.
        channels: Channels of every convolution but the last, before they are gated.
        windows: Frames that each convolution hears, odd.
        step: Frames between two that each leaves; 1 keeps all.
        dropout: Probability of dropping a channel of a token in training.

    Shape:
        inputs: (B, T, features). lengths: (B,). Output: (B, T', dim), and lengths.

    Raises:
        UserError: If a number is below 1, a window even, or the channels odd.

    Source:
        Papi et al. 2021, https://arxiv.org/abs/2109.04574, section 2.3; with ``step`` 2 the stem of Wang et
        al. 2020 (fairseq S2T), https://arxiv.org/abs/2010.05171.
    """

    def __init__(
        self,
        dim: int,
        *,
        features: int = 80,
        channels: int = 1024,
        windows: Sequence[int] = (5, 5),
        step: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(features, channels, step, len(windows)) < 1 or channels % 2:
            raise UserError(
                f"features {features}, step {step} and the number of windows {len(windows)} must be at least "
                f"1, channels {channels} even"
            )
        if even := [window for window in windows if window < 1 or window % 2 == 0]:
            raise UserError(f"windows must be odd, got {even[0]}")
        self.features = self.bands = features
        self.step, self.stride = step, step ** len(windows)
        self.windows = tuple(windows)
        widths = [features, *[channels // 2] * (len(windows) - 1)]
        made = [*[channels] * (len(windows) - 1), 2 * dim]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, out, window, stride=step, padding=window // 2)
            for width, out, window in zip(widths, made, windows, strict=True)
        )
        self.dropout = Dropout(dropout)

    @property
    def reach(self) -> tuple[int, int]:
        """Frames before and behind its first one that a token hears."""
        side = sum(window // 2 * self.step**place for place, window in enumerate(self.windows))
        return side, side

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns the lengths, divided by the step for each convolution and rounded up."""
        for _ in self.windows:
            lengths = (lengths + self.step - 1) // self.step
        return lengths

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolves."""
        if inputs.ndim != 3 or inputs.shape[2] != self.features:
            raise UserError(
                f"got features of shape {tuple(inputs.shape)}; this stem takes (B, T, {self.features})"
            )
        tokens = self.checked_lengths(lengths)
        x = inputs
        for convolution in self.convolutions:
            x = convolution(zero_beyond(x, lengths).transpose(1, 2))
            x = F.glu(x, dim=1).transpose(1, 2)
            lengths = (lengths + self.step - 1) // self.step
        return self.dropout(x), tokens
