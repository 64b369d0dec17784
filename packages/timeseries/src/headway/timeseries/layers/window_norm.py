"""Windows centred and scaled by their own values, and forecasts taken back."""

from typing import Literal, NamedTuple

from torch import Tensor

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
