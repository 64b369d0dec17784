"""Models of the timeseries domain."""
