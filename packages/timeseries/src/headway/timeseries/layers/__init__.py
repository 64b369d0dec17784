"""What only time series need."""

from headway.timeseries.layers.channel_attention import ChannelAttention
from headway.timeseries.layers.decomposition import SeriesDecomposition
from headway.timeseries.layers.embedding import InvertedEmbedding, SeriesEmbedding
from headway.timeseries.layers.observed import (
    interpolated,
    last_observed,
    observed_statistics,
    series_layout,
    zero_unknown,
)
from headway.timeseries.layers.window_norm import AffineWindowNorm, WindowNorm

__all__ = [
    "AffineWindowNorm",
    "ChannelAttention",
    "InvertedEmbedding",
    "SeriesDecomposition",
    "SeriesEmbedding",
    "WindowNorm",
    "interpolated",
    "last_observed",
    "observed_statistics",
    "series_layout",
    "zero_unknown",
]
