"""Forecasting; ``Forecaster`` (from ``headway.timeseries.api``) loads on first use."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily

if TYPE_CHECKING:
    from headway.timeseries.api import Forecaster

__all__ = ["Forecaster"]

__getattr__ = lazily(__name__, {"Forecaster": "api"})
