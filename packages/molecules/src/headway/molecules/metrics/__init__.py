"""Metrics of generated molecules."""

from headway.molecules.metrics.conditions import deviations, has_fragment
from headway.molecules.metrics.generation import Quality, measure

__all__ = ["Quality", "deviations", "has_fragment", "measure"]
