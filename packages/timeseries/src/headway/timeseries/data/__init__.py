"""Series from files, as windows."""

from headway.timeseries.data.forecasting import ForecastingData
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.table import SeriesTable, read_table, write_table

__all__ = ["ForecastingData", "Scaler", "SeriesTable", "read_table", "write_table"]
