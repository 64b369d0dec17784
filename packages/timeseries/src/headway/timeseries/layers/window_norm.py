"""Windows centred and scaled by their own values, and forecasts taken back."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.timeseries.layers.observed import last_observed, observed_statistics


class Statistics(NamedTuple):
    """What a window was centred and scaled by, (B, 1, N) each."""

    centre: Tensor
    scale: Tensor


class WindowNorm(Module):
    """Reversible instance normalisation without learned parameters, for any number of series.

    Args:
        centre: What is subtracted: the ``mean`` of the window or its ``last`` value.

    Shape:
        x, mask: (B, L, N). Output: (B, L, N), zero where nothing was observed.

    Source:
        Kim et al. 2022 (RevIN), https://openreview.net/forum?id=cGDAkQo1C0p.
    """

    def __init__(self, centre: Literal["mean", "last"] = "mean") -> None:
        super().__init__()
        if centre not in ("mean", "last"):
            raise UserError(f"centre is 'mean' or 'last', got {centre!r}")
        self.centre = centre

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Statistics]:
        """Returns the normalised window and what takes a forecast back."""
        if mask is not None:
            x = x.masked_fill(~mask, 0.0)
        centre, scale = observed_statistics(x, mask)
        if self.centre == "last":
            centre = last_observed(x, mask)
        statistics = Statistics(centre.detach(), scale.detach())
        x = (x - statistics.centre) / statistics.scale
        return (x if mask is None else x.masked_fill(~mask, 0.0)), statistics

    def inverse(self, forecast: Tensor, statistics: Statistics) -> Tensor:
        """Returns a forecast in the units of the window."""
        return forecast * statistics.scale + statistics.centre


class AffineWindowNorm(WindowNorm):
    """Reversible instance normalisation with a learned gain and bias, which the inverse takes back exactly.

    Args:
        centre: What is subtracted: the ``mean`` of the window or its ``last`` value.
        variates: Series, each with a gain and a bias of its own; with 1, all series share theirs.

    Shape:
        x, mask: (B, L, N), N equal to ``variates`` unless that is 1. Output: (B, L, N), zero where nothing
        was observed.

    Raises:
        UserError: If there are fewer than 1, or ``x`` has another number of them.

    Source:
        Kim et al. 2022 (RevIN), https://openreview.net/forum?id=cGDAkQo1C0p, eq. 2 and 3.
    """

    def __init__(self, centre: Literal["mean", "last"] = "mean", *, variates: int = 1) -> None:
        super().__init__(centre)
        if variates < 1:
            raise UserError(f"variates must be at least 1, got {variates}")
        self.gain = nn.Parameter(torch.ones(variates))
        self.bias = nn.Parameter(torch.zeros(variates))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Statistics]:
        """Returns the normalised window and what takes a forecast back."""
        variates = len(self.gain)
        if variates not in (1, x.shape[2]):
            raise UserError(
                f"this AffineWindowNorm was built for {variates} series, got {x.shape[2]}; build it with "
                f"variates={x.shape[2]}, or with 1, which all series share"
            )
        x, statistics = super().forward(x, mask)
        x = x * self.gain + self.bias
        return (x if mask is None else x.masked_fill(~mask, 0.0)), statistics

    def inverse(self, forecast: Tensor, statistics: Statistics) -> Tensor:
        """Returns a forecast in the units of the window."""
        return super().inverse((forecast - self.bias) / self.gain, statistics)
