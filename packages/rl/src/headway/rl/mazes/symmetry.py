"""Mazes that are the same, turned or mirrored."""

from collections.abc import Iterator

import numpy as np

from headway.rl.mazes.maze import Maze


def signature(maze: Maze) -> bytes:
    """Returns what the eight symmetric copies of a maze have in common, wherever start and goal are."""
    return min(np.packbits(picture).tobytes() for picture, _ in _turned(maze))


def variants(maze: Maze) -> Iterator[Maze]:
    """Yields the maze turned and mirrored in all eight ways, start and goal with it."""
    for picture, numbers in _turned(maze):
        down, right = np.zeros_like(maze.down), np.zeros_like(maze.right)
        down[:-1], right[:, :-1] = picture[1::2, ::2], picture[::2, 1::2]
        where = [int(np.flatnonzero(numbers == cell)[0]) for cell in (maze.start, maze.goal)]
        yield Maze(down, right, *where)


def _turned(maze: Maze) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    picture, numbers = maze.picture, np.arange(maze.size**2).reshape(maze.size, maze.size)
    for turn in range(4):
        turned = np.rot90(picture, turn), np.rot90(numbers, turn)
        yield turned
        yield turned[0].T, turned[1].T
