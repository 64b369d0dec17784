"""What the timeseries domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain

domain = Domain(
    name="timeseries", help="Forecasting, imputation and anomaly detection; models come later."
)
