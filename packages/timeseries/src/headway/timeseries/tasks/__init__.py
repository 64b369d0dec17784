"""What models of time series are trained for."""

from headway.timeseries.tasks.fields import PredictFields
from headway.timeseries.tasks.forecasting import Forecasting
from headway.timeseries.tasks.generation import GenerateSeries
from headway.timeseries.tasks.losses import (
    AbsoluteError,
    FittingLoss,
    ForecastLoss,
    QuantileLoss,
    SquaredError,
    StudentTLoss,
)
from headway.timeseries.tasks.operators import LearnOperator
from headway.timeseries.tasks.orders import GenerateOrders

__all__ = [
    "AbsoluteError",
    "FittingLoss",
    "ForecastLoss",
    "Forecasting",
    "GenerateOrders",
    "GenerateSeries",
    "LearnOperator",
    "PredictFields",
    "QuantileLoss",
    "SquaredError",
    "StudentTLoss",
]
