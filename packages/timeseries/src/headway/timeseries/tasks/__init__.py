"""What models of time series are trained for."""

from headway.timeseries.tasks.anomalies import DetectAnomalies
from headway.timeseries.tasks.classification import ClassifySeries
from headway.timeseries.tasks.forecasting import Forecasting
from headway.timeseries.tasks.generation import GenerateSeries
from headway.timeseries.tasks.imputation import ImputeSeries
from headway.timeseries.tasks.losses import (
    AbsoluteError,
    FittingLoss,
    ForecastLoss,
    QuantileLoss,
    SquaredError,
    StudentTLoss,
)
from headway.timeseries.tasks.orders import GenerateOrders

__all__ = [
    "AbsoluteError",
    "ClassifySeries",
    "DetectAnomalies",
    "FittingLoss",
    "ForecastLoss",
    "Forecasting",
    "GenerateOrders",
    "GenerateSeries",
    "ImputeSeries",
    "QuantileLoss",
    "SquaredError",
    "StudentTLoss",
]
