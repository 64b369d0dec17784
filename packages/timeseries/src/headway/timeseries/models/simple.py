"""Simple models: what every other one must beat."""

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.systems import system
from headway.timeseries.layers import last_observed
from headway.timeseries.models.base import ForecastingModel, new_head


class Naive(ForecastingModel):
    """Repeats the last observed value; nothing is learned.

    Args:
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.

    Shape:
        x, mask: (B, context_length, N). Output: (B, horizon, N).
    """

    affine = True

    def __init__(self, *, context_length: int = 96, horizon: int = 96) -> None:
        super().__init__(context_length=context_length, horizon=horizon)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        marks: Tensor | None = None,
        future_marks: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Returns the forecast."""
        self.check(x, static)
        return last_observed(x, mask).expand(-1, self.horizon, -1)


class SeasonalNaive(ForecastingModel):
    """Repeats the last period; nothing is learned.

    A missing value is taken from the same place of the period before, or else is the last observed one.

    Args:
        period: Steps of a period, such as 24 for hours of a day.
        context_length: Steps that the model reads, at least one period.
        horizon: Steps that it forecasts.

    Shape:
        x, mask: (B, context_length, N). Output: (B, horizon, N).

    Raises:
        UserError: If the window is shorter than a period.
    """

    affine = True

    def __init__(self, *, period: int, context_length: int = 96, horizon: int = 96) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        if not 1 <= period <= context_length:
            raise UserError(
                f"a period of {period} steps does not fit into {context_length} steps of context; "
                f"give context_length of at least {max(period, 1)} and a period of at least 1"
            )
        self.period = period

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        marks: Tensor | None = None,
        future_marks: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Returns the forecast."""
        self.check(x, static)
        period = self.period
        season = x[:, -period:]
        if mask is not None:
            cycles = range(2, x.shape[1] // period + 1)
            known = mask[:, -period:]
            for cycle in cycles:
                part = slice(x.shape[1] - cycle * period, x.shape[1] - (cycle - 1) * period)
                season = torch.where(known, season, x[:, part])
                known = known | mask[:, part]
            season = torch.where(known, season, last_observed(x, mask))
        steps = torch.arange(self.horizon, device=x.device) % period
        return season[:, steps]


@system(
    id=None,
    name="NLinear",
    paper="https://arxiv.org/abs/2205.13504",
    claim="one linear layer over the window minus its last value: a shift of the series shifts the forecast",
    test="packages/timeseries/tests/models/test_simple.py",
)
class NLinear(ForecastingModel):
    """One linear layer from the window minus its last value to the future minus it.

    All series share the layer, and their number is free.

    Args:
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.

    Shape:
        x, mask: (B, context_length, N). Output: (B, horizon, N).

    Source:
        Zeng et al. 2022, https://arxiv.org/abs/2205.13504, section 4.
    """

    shifts = True

    def __init__(self, *, context_length: int = 336, horizon: int = 96) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        self.head = nn.Linear(context_length, horizon)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        marks: Tensor | None = None,
        future_marks: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Returns the forecast."""
        self.check(x, static)
        last = last_observed(x, mask)
        x = x - last.detach()
        if mask is not None:
            x = x.masked_fill(~mask, 0.0)
        return self.head(x.transpose(1, 2)).transpose(1, 2) + last.detach()

    def set_horizon(self, horizon: int) -> None:
        """Forecasts another number of steps from now on, with a new layer."""
        super().set_horizon(horizon)
        self.head = new_head(self.head, horizon)
