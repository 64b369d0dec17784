"""Models of molecules."""

from headway.molecules.models.druggen import DrugGen
from headway.molecules.models.druggen_pretrained import (
    druggen_of,
    pretrained_druggen,
    protein_encoder,
)
from headway.molecules.models.folding_diff import FoldingDiff
from headway.molecules.models.gen_mol import GenMol
from headway.molecules.models.gp_molformer import GPMoLFormer
from headway.molecules.models.graph_backbone import GraphBackbone
from headway.molecules.models.graph_predictor import GraphPredictor
from headway.molecules.models.graphormer import Graphormer
from headway.molecules.models.gsm import GSM
from headway.molecules.models.joint_transformer import JointTransformer
from headway.molecules.models.llama import Llama
from headway.molecules.models.llamol import LLamol
from headway.molecules.models.matter_gpt import MatterGPT
from headway.molecules.models.molformer import MoLFormer
from headway.molecules.models.pretrained import pretrained, pretrained_predictor
from headway.molecules.models.property_predictor import Predictor, PropertyPredictor
from headway.molecules.models.protein_forms import (
    EncodedProtein,
    FrozenProtein,
    NoProtein,
    ProteinForm,
    ProteinPrefix,
)
from headway.molecules.models.regression_transformer import RegressionTransformer
from headway.molecules.models.safe_gpt import SafeGPT

__all__ = [
    "GSM",
    "DrugGen",
    "EncodedProtein",
    "FoldingDiff",
    "FrozenProtein",
    "GPMoLFormer",
    "GenMol",
    "GraphBackbone",
    "GraphPredictor",
    "Graphormer",
    "JointTransformer",
    "LLamol",
    "Llama",
    "MatterGPT",
    "MoLFormer",
    "NoProtein",
    "Predictor",
    "PropertyPredictor",
    "ProteinForm",
    "ProteinPrefix",
    "RegressionTransformer",
    "SafeGPT",
    "druggen_of",
    "list_models",
    "pretrained",
    "pretrained_druggen",
    "pretrained_predictor",
    "protein_encoder",
]


def list_models() -> list[str]:
    """Returns the names of the models."""
    return [
        "DrugGen",
        "FoldingDiff",
        "GPMoLFormer",
        "GSM",
        "GenMol",
        "GraphPredictor",
        "Graphormer",
        "JointTransformer",
        "LLamol",
        "Llama",
        "MatterGPT",
        "MoLFormer",
        "PropertyPredictor",
        "RegressionTransformer",
        "SafeGPT",
    ]
