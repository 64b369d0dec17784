"""Scores of forecasts that torchmetrics lacks; everything is elementwise, so that masks stay easy."""

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
    "interval_levels",
    "level_weights",
    "pinball",
]
