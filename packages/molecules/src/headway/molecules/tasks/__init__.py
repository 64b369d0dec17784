"""Tasks on molecules."""

from headway.molecules.tasks.language_modeling import LanguageModeling
from headway.molecules.tasks.property_prediction import PropertyPrediction

__all__ = ["LanguageModeling", "PropertyPrediction"]
