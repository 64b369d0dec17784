"""Sokoban: levels, how they are drawn, told apart and written down; needs numpy alone."""

from headway.rl.sokoban.drawing import arrange
from headway.rl.sokoban.kinds import Levels
from headway.rl.sokoban.level import Level
from headway.rl.sokoban.symmetry import signature, variants
from headway.rl.sokoban.tokens import SokobanTokens

__all__ = ["Level", "Levels", "SokobanTokens", "arrange", "signature", "variants"]
