"""Metrics of generated molecules."""

from headway.molecules.metrics.conditions import deviations, has_fragment
from headway.molecules.metrics.generation import Quality, measure
from headway.molecules.metrics.ramachandran import ramachandran_distance

__all__ = ["Quality", "deviations", "has_fragment", "measure", "ramachandran_distance"]
