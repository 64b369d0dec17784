"""Layers of Diffusion-TS: what a token sequence says of the trend, and of the season."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.feedforward import GELU
from headway.core.module import Module


class PolynomialTrend(Module):
    """A polynomial of low degree for each series, with coefficients that the tokens choose.

    Args:
        length: Tokens.
        dim: Channels of a token.
        features: Series.
        degree: Of the polynomial; it has no constant term.

    Shape:
        x: (B, length, dim). Output: (B, length, features).

    Source:
        Yuan and Qiao 2024, https://arxiv.org/abs/2403.01742, eq. 3.
    """

    powers: Tensor

    def __init__(self, length: int, dim: int, features: int, *, degree: int = 3) -> None:
        super().__init__()
        # Both convolutions run over what is no time: over the channels, then over the coefficients.
        self.coefficients = nn.Conv1d(length, degree, 3, padding=1)
        self.activation = GELU()
        self.series = nn.Conv1d(dim, features, 3, padding=1)
        self.length, self.degree = length, degree
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the powers of the positions."""
        positions = torch.arange(1, self.length + 1, dtype=torch.float64) / (self.length + 1)
        return {"powers": positions ** torch.arange(1, self.degree + 1)[:, None]}

    def forward(self, x: Tensor) -> Tensor:
        """Returns the trend."""
        chosen = self.activation(self.coefficients(x)).transpose(1, 2)
        return (self.series(chosen) @ self.powers.to(x.dtype)).transpose(1, 2)


class FourierSeason(Module):
    """The strongest frequencies of each channel, and nothing else.

    The mean and the highest frequency of an even number of tokens are never among them. The waves are as
    much larger than they are in the sequence as it has tokens; what follows learns the scale.

    Args:
        share: ``share * ln(frequencies)`` frequencies are kept, rounded down.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Yuan and Qiao 2024, https://arxiv.org/abs/2403.01742, eq. 4 and 5.
    """

    def __init__(self, *, share: float = 1.0) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Returns the season."""
        if not x.shape[0]:
            # The libraries of transforms refuse nothing at all.
            return x
        tokens = x.shape[1]
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        waves = torch.fft.rfft(wide, dim=1)
        inner = waves[:, 1:-1] if tokens % 2 == 0 else waves[:, 1:]
        kept = int(self.share * math.log(inner.shape[1])) if inner.shape[1] else 0
        strongest = inner.abs().topk(kept, dim=1).indices
        chosen = torch.zeros_like(inner).scatter(1, strongest, inner.gather(1, strongest))
        chosen = F.pad(chosen, (0, 0, 1, waves.shape[1] - 1 - inner.shape[1]))
        return torch.fft.irfft(chosen, n=tokens, dim=1, norm="forward").to(x.dtype)
