"""Tasks on molecules."""

from headway.molecules.tasks.language_modeling import LanguageModeling

__all__ = ["LanguageModeling"]
