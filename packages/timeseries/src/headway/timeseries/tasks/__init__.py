"""What models of time series are trained for."""

from headway.timeseries.tasks.forecasting import Forecasting
from headway.timeseries.tasks.generation import GenerateSeries

__all__ = ["Forecasting", "GenerateSeries"]
