"""Series from files, as windows."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily
from headway.timeseries.data.gluonts import panel_of_entries, read_entries
from headway.timeseries.data.hiding import HideBlocks, HidePoints, Hiding
from headway.timeseries.data.panel import Covariates, Panel, panel_of
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.table import SeriesTable, read_table, write_table
from headway.timeseries.data.ts_file import LabelledSeries, read_ts

if TYPE_CHECKING:
    from headway.timeseries.data.classification import ClassificationData
    from headway.timeseries.data.forecasting import ForecastingData
    from headway.timeseries.data.generation import GenerationData
    from headway.timeseries.data.panel_data import PanelData
    from headway.timeseries.data.reconstruction import AnomalyData, ImputationData

__all__ = [
    "AnomalyData",
    "ClassificationData",
    "Covariates",
    "ForecastingData",
    "GenerationData",
    "HideBlocks",
    "HidePoints",
    "Hiding",
    "ImputationData",
    "LabelledSeries",
    "Panel",
    "PanelData",
    "Scaler",
    "SeriesTable",
    "panel_of",
    "panel_of_entries",
    "read_entries",
    "read_table",
    "read_ts",
    "write_table",
]

# They need Lightning, which loads when one of them does.
__getattr__ = lazily(
    __name__,
    {
        "AnomalyData": "reconstruction",
        "ClassificationData": "classification",
        "ForecastingData": "forecasting",
        "GenerationData": "generation",
        "ImputationData": "reconstruction",
        "PanelData": "panel_data",
    },
)
