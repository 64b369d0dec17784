"""Models of molecules."""

from headway.molecules.models.joint_transformer import JointTransformer
from headway.molecules.models.llama import Llama
from headway.molecules.models.llamol import LLamol
from headway.molecules.models.matter_gpt import MatterGPT
from headway.molecules.models.pretrained import pretrained
from headway.molecules.models.regression_transformer import RegressionTransformer

__all__ = [
    "JointTransformer",
    "LLamol",
    "Llama",
    "MatterGPT",
    "RegressionTransformer",
    "list_models",
    "pretrained",
]


def list_models() -> list[str]:
    """Returns the names of the models."""
    return ["JointTransformer", "LLamol", "Llama", "MatterGPT", "RegressionTransformer"]
