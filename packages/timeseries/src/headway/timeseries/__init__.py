"""Forecasting; ``Forecaster`` (from ``headway.timeseries.api``) loads on first use."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "Forecaster":
        from headway.timeseries.api import Forecaster

        return Forecaster
    raise AttributeError(f"module 'headway.timeseries' has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["Forecaster"]
