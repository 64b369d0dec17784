"""Tasks on molecules."""

from headway.molecules.tasks.alternating_modeling import AlternatingModeling
from headway.molecules.tasks.angle_diffusion import AngleDiffusion
from headway.molecules.tasks.conditional_modeling import ConditionalModeling
from headway.molecules.tasks.diffusion_modeling import DiffusionModeling
from headway.molecules.tasks.joint_modeling import JointModeling
from headway.molecules.tasks.language_modeling import LanguageModeling
from headway.molecules.tasks.property_prediction import PropertyPrediction
from headway.molecules.tasks.targeted_modeling import TargetedModeling

__all__ = [
    "AlternatingModeling",
    "AngleDiffusion",
    "ConditionalModeling",
    "DiffusionModeling",
    "JointModeling",
    "LanguageModeling",
    "PropertyPrediction",
    "TargetedModeling",
]
