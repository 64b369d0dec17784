"""From steps of features to samples: transposed convolutions with several receptive fields behind each."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from headway.core.errors import UserError
from headway.core.module import Module
from headway.speech.layers.padding import zero_beyond

# The last activation of the published generator has PyTorch's default slope.
LAST_SLOPE = 0.01
DILATIONS = (1, 3, 5)
Activation = Callable[[int], nn.Module]


class DilatedBranch(nn.Module):
    """Residual pairs of convolutions, the first of each pair dilated.

    Args:
        channels: Channels.
        kernel: Steps that a convolution sees, an odd number.
        dilations: Of the first convolution of each pair.
        slope: Of the activation below zero.
        activation: Builds another activation, ``(channels)``, for each convolution.
        plain: Whether a pair is one dilated convolution alone, as in the smallest published form.

    Shape:
        x: (B, channels, T). Output: the same.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel: int = 3,
        dilations: Sequence[int] = DILATIONS,
        slope: float = 0.1,
        activation: Activation | None = None,
        plain: bool = False,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise UserError(f"kernel is {kernel}; it is an odd number")
        pairs = len(dilations)
        self.before = nn.ModuleList(_activation(channels, slope, activation) for _ in range(pairs))

        def convolution(dilation: int) -> nn.Conv1d:
            edge = dilation * (kernel - 1) // 2
            return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=edge)

        self.dilated = nn.ModuleList(convolution(dilation) for dilation in dilations)
        self.between = self.dense = None
        if not plain:
            self.between = nn.ModuleList(
                _activation(channels, slope, activation) for _ in range(pairs)
            )
            self.dense = nn.ModuleList(convolution(1) for _ in dilations)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convolves; what lies behind an item is zero before every convolution."""
        for place, dilated in enumerate(self.dilated):
            hidden = dilated(real(self.before[place](x), lengths))
            if self.between is not None and self.dense is not None:
                hidden = self.dense[place](real(self.between[place](hidden), lengths))
            x = x + hidden
        return x


class ReceptiveFields(Module):
    """The mean of branches that see different stretches (multi-receptive-field fusion).

    Args:
        channels: Channels.
        kernels: Steps that the convolutions of each branch see, odd numbers.
        dilations: Of each branch; 1, 3 and 5 for all of them if None.
        slope: Of the activations below zero.
        activation: Builds another activation, ``(channels)``.
        plain: As of ``DilatedBranch``.

    Shape:
        x: (B, channels, T). Output: the same.

    Raises:
        UserError: If there is no branch, or there are not as many dilations as kernels.

    Source:
        Kong et al. 2020, https://arxiv.org/abs/2010.05646, section 2.2.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernels: Sequence[int] = (3, 7, 11),
        dilations: Sequence[Sequence[int]] | None = None,
        slope: float = 0.1,
        activation: Activation | None = None,
        plain: bool = False,
    ) -> None:
        super().__init__()
        dilations = [DILATIONS] * len(kernels) if dilations is None else dilations
        if not kernels or len(dilations) != len(kernels):
            raise UserError(
                f"{len(kernels)} kernels and dilations of {len(dilations)} branches; give as many"
            )
        self.branches = nn.ModuleList(
            DilatedBranch(
                channels,
                kernel=kernel,
                dilations=steps,
                slope=slope,
                activation=activation,
                plain=plain,
            )
            for kernel, steps in zip(kernels, dilations, strict=True)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns the mean of the branches."""
        total = self.branches[0](x, lengths)
        for branch in list(self.branches)[1:]:
            total = total + branch(x, lengths)
        return total / len(self.branches)


class WaveGenerator(Module):
    """HiFi-GAN's generator: each step of the input becomes ``hop`` samples.

    In training a weight is a length and a direction (weight normalisation); ``fold`` makes one tensor of
    both, which answers the same and faster.

    Args:
        dim: Channels of a step.
        channels: Channels before the first transposed convolution; each halves them.
        rates: By how much each transposed convolution makes the sequence longer.
        kernels: Steps that each of them writes: its rate and an even number more.
        fields: Builds what stands behind each, ``(channels)``.
        slope: Of the activations below zero.
        activation: Builds another activation, ``(channels)``.
        normalised: Whether lengths and directions of weights are learned apart.

    Shape:
        x: (B, T, dim). lengths: (B,). Output: (B, T * hop).

    Raises:
        UserError: If rates and kernels do not fit, or the channels cannot be halved so often.

    Source:
        Kong et al. 2020, https://arxiv.org/abs/2010.05646.
    """

    def __init__(
        self,
        dim: int,
        *,
        channels: int = 512,
        rates: Sequence[int] = (8, 8, 2, 2),
        kernels: Sequence[int] = (16, 16, 4, 4),
        fields: Callable[[int], nn.Module] = ReceptiveFields,
        slope: float = 0.1,
        activation: Activation | None = None,
        normalised: bool = True,
    ) -> None:
        super().__init__()
        if len(rates) != len(kernels) or not rates:
            raise UserError(f"rates are {tuple(rates)} and kernels {tuple(kernels)}; give as many")
        for rate, kernel in zip(rates, kernels, strict=True):
            if rate < 1 or kernel < rate or (kernel - rate) % 2:
                raise UserError(
                    f"a kernel of {kernel} with a rate of {rate}; it is the rate and an even number more"
                )
        if channels % 2 ** len(rates):
            raise UserError(f"channels is {channels}; it must divide by {2 ** len(rates)}")
        self.rates = tuple(rates)
        self.first = nn.Conv1d(dim, channels, 7, padding=3)
        widths = [channels // 2**place for place in range(len(rates) + 1)]
        self.longer = nn.ModuleList(
            nn.ConvTranspose1d(before, after, kernel, rate, padding=(kernel - rate) // 2)
            for (before, after), rate, kernel in zip(pairwise(widths), rates, kernels, strict=True)
        )
        self.before = nn.ModuleList(_activation(width, slope, activation) for width in widths[:-1])
        self.end = _activation(widths[-1], LAST_SLOPE, activation)
        self.fields = nn.ModuleList(fields(width) for width in widths[1:])
        self.last = nn.Conv1d(widths[-1], 1, 7, padding=3)
        for layer in self._convolutions():
            nn.init.normal_(layer.weight, std=0.01)
        if normalised:
            for layer in self._convolutions():
                weight_norm(layer)

    @property
    def hop(self) -> int:
        """Samples of a step."""
        hop = 1
        for rate in self.rates:
            hop *= rate
        return hop

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Makes samples; those behind an item are zero."""
        x = self.first(real(x.transpose(1, 2), lengths))
        for place, (longer, fields) in enumerate(zip(self.longer, self.fields, strict=True)):
            x = longer(real(self.before[place](x), lengths))
            lengths = None if lengths is None else lengths * self.rates[place]
            x = fields(x, lengths)
        x = self.last(real(self.end(x), lengths))
        return torch.tanh(real(x, lengths).squeeze(1))

    def fold(self) -> None:
        """Makes one tensor of length and direction of each weight; it is not learned in two parts again."""
        for layer in self._convolutions():
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight")

    def _convolutions(self) -> list[nn.Conv1d | nn.ConvTranspose1d]:
        return [m for m in self.modules() if isinstance(m, nn.Conv1d | nn.ConvTranspose1d)]


def _activation(channels: int, slope: float, other: Activation | None) -> nn.Module:
    return nn.LeakyReLU(slope) if other is None else other(channels)


def real(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Returns ``x`` (B, C, T) with zeros behind the items."""
    return x if lengths is None else zero_beyond(x, lengths, axis=2)
