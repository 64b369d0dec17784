"""Forecasters; they need torch alone."""

from headway.timeseries.models.autoformer import Autoformer
from headway.timeseries.models.base import Forecaster
from headway.timeseries.models.dlinear import DLinear
from headway.timeseries.models.informer import Informer
from headway.timeseries.models.itransformer import ITransformer
from headway.timeseries.models.patchtst import PatchTST
from headway.timeseries.models.pretrained import pretrained
from headway.timeseries.models.probabilistic import QuantileForecaster, StudentTForecaster
from headway.timeseries.models.samformer import SAMformer
from headway.timeseries.models.simple import Naive, NLinear, SeasonalNaive

__all__ = [
    "Autoformer",
    "DLinear",
    "Forecaster",
    "ITransformer",
    "Informer",
    "NLinear",
    "Naive",
    "PatchTST",
    "QuantileForecaster",
    "SAMformer",
    "SeasonalNaive",
    "StudentTForecaster",
    "list_models",
    "pretrained",
]


def list_models() -> list[str]:
    """Returns the names that ``headway ls models`` shows."""
    return [name for name in __all__ if name[0].isupper() and name != "Forecaster"]
