"""Published weights that the timeseries domain reads."""
