"""What only time series need."""

from headway.timeseries.layers.embedding import InvertedEmbedding, SeriesEmbedding
from headway.timeseries.layers.observed import last_observed, observed_statistics

__all__ = ["InvertedEmbedding", "SeriesEmbedding", "last_observed", "observed_statistics"]
