"""Mazes on a square grid: what they are, how they are drawn and told apart; needs numpy alone."""

from headway.rl.mazes.drawing import DENSITY, draw_maze, perfect_maze, scattered_maze
from headway.rl.mazes.kinds import Mazes
from headway.rl.mazes.maze import Maze
from headway.rl.mazes.symmetry import signature, variants
from headway.rl.mazes.tokens import MazeTokens
from headway.rl.mazes.ways import distances

__all__ = [
    "DENSITY",
    "Maze",
    "MazeTokens",
    "Mazes",
    "distances",
    "draw_maze",
    "perfect_maze",
    "scattered_maze",
    "signature",
    "variants",
]
