"""Scores of generated series."""

from headway.timeseries.metrics.discriminative import discriminative_score

__all__ = ["discriminative_score"]
