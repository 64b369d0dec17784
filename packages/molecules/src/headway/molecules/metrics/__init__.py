"""Metrics of generated molecules, and of predicted properties."""

from headway.molecules.metrics.generation import Quality, measure
from headway.molecules.metrics.prediction import PropertyScores, property_scores

__all__ = ["PropertyScores", "Quality", "measure", "property_scores"]
