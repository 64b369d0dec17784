"""Forecasters; they need torch alone."""

from headway.timeseries.models.aceformer import ACEFormer
from headway.timeseries.models.autoformer import Autoformer
from headway.timeseries.models.base import ForecastingModel
from headway.timeseries.models.diffusion_ts import DiffusionTS
from headway.timeseries.models.dlinear import DLinear
from headway.timeseries.models.forecaster_classifier import ForecasterClassifier
from headway.timeseries.models.informer import Informer
from headway.timeseries.models.itransformer import ITransformer
from headway.timeseries.models.lmuformer import LMUFormer
from headway.timeseries.models.lsfan import LSFAN
from headway.timeseries.models.moment_encoder import MomentEncoder
from headway.timeseries.models.patchtst import PatchTST
from headway.timeseries.models.pretrained import pretrained
from headway.timeseries.models.probabilistic import QuantileForecaster, StudentTForecaster
from headway.timeseries.models.samformer import SAMformer
from headway.timeseries.models.series_classifier import SeriesClassifier
from headway.timeseries.models.simple import Naive, NLinear, SeasonalNaive
from headway.timeseries.models.timesfm import TimesFM
from headway.timeseries.models.trades import TRADES
from headway.timeseries.models.transformer import Transformer

__all__ = [
    "LSFAN",
    "TRADES",
    "ACEFormer",
    "Autoformer",
    "DLinear",
    "DiffusionTS",
    "ForecasterClassifier",
    "ForecastingModel",
    "ITransformer",
    "Informer",
    "LMUFormer",
    "MomentEncoder",
    "NLinear",
    "Naive",
    "PatchTST",
    "QuantileForecaster",
    "SAMformer",
    "SeasonalNaive",
    "SeriesClassifier",
    "StudentTForecaster",
    "TimesFM",
    "Transformer",
    "list_models",
    "pretrained",
]


def list_models() -> list[str]:
    """Returns the names that ``headway ls models`` shows."""
    return [name for name in __all__ if name[0].isupper() and name != "ForecastingModel"]
