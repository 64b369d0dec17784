"""Models of molecules."""

from headway.molecules.models.folding_diff import FoldingDiff
from headway.molecules.models.gp_molformer import GPMoLFormer
from headway.molecules.models.graphormer import Graphormer
from headway.molecules.models.llama import Llama
from headway.molecules.models.llamol import LLamol
from headway.molecules.models.pretrained import pretrained

__all__ = [
    "FoldingDiff",
    "GPMoLFormer",
    "Graphormer",
    "LLamol",
    "Llama",
    "list_models",
    "pretrained",
]


def list_models() -> list[str]:
    """Returns the names of the models."""
    return ["FoldingDiff", "GPMoLFormer", "Graphormer", "LLamol", "Llama"]
