"""Series from files, as windows."""

from headway.timeseries.data.forecasting import ForecastingData
from headway.timeseries.data.generation import GenerationData
from headway.timeseries.data.gluonts import panel_of_entries, read_entries
from headway.timeseries.data.panel import Covariates, Panel, panel_of
from headway.timeseries.data.panel_data import PanelData
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.table import SeriesTable, read_table, write_table

__all__ = [
    "Covariates",
    "ForecastingData",
    "GenerationData",
    "Panel",
    "PanelData",
    "Scaler",
    "SeriesTable",
    "panel_of",
    "panel_of_entries",
    "read_entries",
    "read_table",
    "write_table",
]
