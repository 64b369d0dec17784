"""Mazes on a square grid: what they are, how they are drawn, searched and told apart; needs numpy alone."""

from headway.rl.mazes.astar import Search, Step, astar, distances
from headway.rl.mazes.drawing import DENSITY, draw_maze, perfect_maze, scattered_maze
from headway.rl.mazes.maze import MOVES, Maze
from headway.rl.mazes.symmetry import signature, variants

__all__ = [
    "DENSITY",
    "MOVES",
    "Maze",
    "Search",
    "Step",
    "astar",
    "distances",
    "draw_maze",
    "perfect_maze",
    "scattered_maze",
    "signature",
    "variants",
]
