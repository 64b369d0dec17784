"""DLinear."""

from torch import Tensor, nn

from headway.core.systems import system
from headway.timeseries.layers import SeriesDecomposition, observed_statistics
from headway.timeseries.models.base import ForecastingModel, new_head


@system(
    id=None,
    name="DLinear",
    paper="https://arxiv.org/abs/2205.13504",
    claim="trend and season of the window are forecast by a linear layer each and added",
    test="packages/timeseries/tests/models/test_dlinear.py",
)
class DLinear(ForecastingModel):
    """One linear layer for the trend of the window and one for its season.

    All series share the layers, and their number is free. A missing value is read as the mean of its
    window.

    Args:
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        window: Steps of the moving average, odd.

    Shape:
        x, mask: (B, context_length, N). Output: (B, horizon, N).

    Source:
        Zeng et al. 2022, https://arxiv.org/abs/2205.13504, section 4.
    """

    def __init__(self, *, context_length: int = 336, horizon: int = 96, window: int = 25) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        self.decomposition = SeriesDecomposition(window)
        self.season = nn.Linear(context_length, horizon)
        self.trend = nn.Linear(context_length, horizon)

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
        if mask is not None:
            mean, _ = observed_statistics(x, mask)
            x = mean.where(~mask, x)
        season, trend = self.decomposition(x)
        forecast = self.season(season.transpose(1, 2)) + self.trend(trend.transpose(1, 2))
        return forecast.transpose(1, 2)

    def set_horizon(self, horizon: int) -> None:
        """Forecasts another number of steps from now on, with new layers."""
        super().set_horizon(horizon)
        self.season = new_head(self.season, horizon)
        self.trend = new_head(self.trend, horizon)
