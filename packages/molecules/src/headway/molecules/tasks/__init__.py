"""Tasks on molecules."""

from headway.molecules.tasks.alternating_modeling import AlternatingModeling
from headway.molecules.tasks.conditional_modeling import ConditionalModeling
from headway.molecules.tasks.joint_modeling import JointModeling
from headway.molecules.tasks.language_modeling import LanguageModeling

__all__ = ["AlternatingModeling", "ConditionalModeling", "JointModeling", "LanguageModeling"]
