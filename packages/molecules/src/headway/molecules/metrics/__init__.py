"""Metrics of generated molecules."""

from headway.molecules.metrics.generation import Quality, measure

__all__ = ["Quality", "measure"]
