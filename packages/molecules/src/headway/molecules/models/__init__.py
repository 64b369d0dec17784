"""Models of molecules."""

from headway.molecules.models.llama import Llama
from headway.molecules.models.pretrained import pretrained, pretrained_predictor
from headway.molecules.models.property_predictor import PropertyPredictor

__all__ = ["Llama", "PropertyPredictor", "list_models", "pretrained", "pretrained_predictor"]


def list_models() -> list[str]:
    """Returns the names of the models."""
    return ["Llama", "PropertyPredictor"]
