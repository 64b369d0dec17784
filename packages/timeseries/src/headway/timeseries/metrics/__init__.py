"""Scores of forecasts and of generated series that torchmetrics lacks."""

from headway.timeseries.metrics.discriminative import discriminative_score
from headway.timeseries.metrics.intervals import coverage, interval_levels
from headway.timeseries.metrics.quantiles import (
    crps_from_quantiles,
    crps_from_samples,
    level_weights,
    pinball,
)

__all__ = [
    "coverage",
    "crps_from_quantiles",
    "crps_from_samples",
    "discriminative_score",
    "interval_levels",
    "level_weights",
    "pinball",
]
