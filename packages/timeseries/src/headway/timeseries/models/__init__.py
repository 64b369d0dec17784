"""Forecasters; they need torch alone."""

from headway.timeseries.models.base import Forecaster
from headway.timeseries.models.informer import Informer
from headway.timeseries.models.itransformer import ITransformer
from headway.timeseries.models.pretrained import pretrained
from headway.timeseries.models.simple import Naive, NLinear, SeasonalNaive

__all__ = [
    "Forecaster",
    "ITransformer",
    "Informer",
    "NLinear",
    "Naive",
    "SeasonalNaive",
    "list_models",
    "pretrained",
]


def list_models() -> list[str]:
    """Returns the names that ``headway ls models`` shows."""
    return ["ITransformer", "Informer", "NLinear", "Naive", "SeasonalNaive"]
