"""The convolutional stem over waveforms of wav2vec 2.0."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.norms import LayerNorm
from headway.core.ops.tracing import settled
from headway.speech.layers.padding import zero_beyond
from headway.speech.layers.stem import SpeechStem


class ItemNorm(nn.Module):
    """Normalises an item over its own real positions (group norm): each channel by itself, or all as one.

    Args:
        channels: Channels.
        eps: Added to the variance.
        together: Whether all channels share mean and variance.

    Shape:
        x: (B, channels, T). lengths: (B,). Output: the same as x.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5, together: bool = False) -> None:
        super().__init__()
        self.eps, self.together = eps, together
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Normalises over the real positions."""
        count = lengths[:, None, None].to(x.dtype)
        axes = (1, 2) if self.together else 2
        count = count * x.shape[1] if self.together else count
        mean = zero_beyond(x, lengths, axis=2).sum(dim=axes, keepdim=True) / count
        centred = zero_beyond(x - mean, lengths, axis=2)
        variance = centred.square().sum(dim=axes, keepdim=True) / count
        normed = centred * (variance + self.eps).rsqrt()
        return normed * self.weight[:, None] + self.bias[:, None]


class WaveformStem(SpeechStem):
    """Convolutions without padding over the samples, a norm, and a projection: one token for 20 ms.

    Args:
        dim: Channels of a token.
        channels: Channels of each convolution.
        kernels: Length of each convolution.
        strides: Stride of each convolution.
        norm: ``"layer"`` normalises every convolution's output over its channels, ``"group"`` the first
            one's over time, each channel by itself.
        bias: Whether the convolutions learn a bias.
        eps: Added to the variance by the norm before the projection.
        dropout: Probability of dropping a channel of a token in training.
        normed: Whether a norm stands in front of the projection.

    Shape:
        inputs: (B, T). lengths: (B,). Output: (B, N, dim), and lengths.

    Source:
        Baevski et al. 2020, https://arxiv.org/abs/2006.11477, section 2.
    """

    def __init__(
        self,
        dim: int,
        *,
        channels: Sequence[int] = (512,) * 7,
        kernels: Sequence[int] = (10, 3, 3, 3, 3, 2, 2),
        strides: Sequence[int] = (5, 2, 2, 2, 2, 2, 2),
        norm: Literal["layer", "group"] = "layer",
        bias: bool = False,
        eps: float = 1e-5,
        dropout: float = 0.0,
        normed: bool = True,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernels) == len(strides) > 0:
            raise UserError(
                f"{len(channels)} channels, {len(kernels)} kernels and {len(strides)} strides; "
                "give one of each for every convolution"
            )
        if norm not in ("layer", "group"):
            raise UserError(f"norm is 'layer' or 'group', got {norm!r}")
        self.kernels, self.strides, self.kind = tuple(kernels), tuple(strides), norm
        self.stride = math.prod(strides)
        widths = [1, *channels]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(*pair, kernel, stride=stride, bias=bias)
            for pair, kernel, stride in zip(pairwise(widths), kernels, strides, strict=True)
        )
        if norm == "layer":
            norms: list[nn.Module] = [LayerNorm(width, eps=1e-5) for width in channels]
        else:
            norms = [ItemNorm(channels[0])]
        self.norms = nn.ModuleList(norms)
        self.norm = LayerNorm(widths[-1], eps=eps) if normed else None
        self.projection = nn.Linear(widths[-1], dim)
        self.dropout = Dropout(dropout)

    @property
    def reach(self) -> tuple[int, int] | None:
        """Samples before and behind its first one that a token hears; with a norm over time, all of them."""
        if self.kind == "group":
            return None
        field, step = 1, 1
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            field, step = field + (kernel - 1) * step, step * stride
        return 0, field - 1

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns the lengths behind the convolutions."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            lengths = self._shorter(lengths, kernel, stride)
        return lengths

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolves and projects."""
        if inputs.ndim != 2:
            raise UserError(
                f"got an input of shape {tuple(inputs.shape)}; this stem takes waveforms (B, T)"
            )
        tokens = self.checked_lengths(lengths)
        x = zero_beyond(inputs, lengths)[:, None]
        for place, convolution in enumerate(self.convolutions):
            x = convolution(x)
            lengths = self._shorter(lengths, self.kernels[place], self.strides[place])
            if self.kind == "layer":
                x = self.norms[place](settled(x.transpose(1, 2)))
                x = settled(x.transpose(1, 2))
            elif place == 0:
                x = self.norms[0](x, lengths)
            x = F.gelu(x)
        x = settled(x.transpose(1, 2))
        x = x if self.norm is None else self.norm(x)
        return self.dropout(self.projection(x)), tokens

    @staticmethod
    def _shorter(lengths: Tensor, kernel: int, stride: int) -> Tensor:
        return torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
