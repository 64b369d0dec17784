"""What models of time series are trained for."""

from headway.timeseries.tasks.forecasting import Forecasting

__all__ = ["Forecasting"]
