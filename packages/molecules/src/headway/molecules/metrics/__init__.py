"""Metrics of generated molecules, and of predicted properties."""

from headway.molecules.metrics.conditions import deviations, has_fragment
from headway.molecules.metrics.generation import Quality, measure
from headway.molecules.metrics.prediction import PropertyScores, property_scores
from headway.molecules.metrics.ramachandran import ramachandran_distance

__all__ = [
    "PropertyScores",
    "Quality",
    "deviations",
    "has_fragment",
    "measure",
    "property_scores",
    "ramachandran_distance",
]
