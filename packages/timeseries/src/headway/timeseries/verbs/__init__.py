"""The verbs of time series."""
