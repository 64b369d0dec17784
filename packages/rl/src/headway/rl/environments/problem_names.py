"""Names of environments of planning problems."""

from typing import Any

from headway.rl.mazes import Mazes
from headway.rl.planning import Problems
from headway.rl.sokoban import Levels

MAZE = "headway/Maze-v0"
MAZES: dict[str, dict[str, Any]] = {
    **{f"headway/Maze{size}-v0": {"size": size} for size in (5, 6, 8)},
    **{f"headway/PerfectMaze{size}-v0": {"size": size, "kind": "perfect"} for size in (5, 6, 10)},
}
# Two boxes and 7 cells along a side, as in the paper of Searchformer.
SOKOBAN = "headway/Sokoban-v0"
SOKOBANS: dict[str, dict[str, Any]] = {
    "headway/Sokoban6-v0": {"size": 6, "boxes": 1, "walls": 3},
    "headway/Sokoban7-v0": {"size": 7, "boxes": 1, "walls": 2},
}


def environment_of(problems: Problems) -> str | None:
    """Returns the name of the environment of such problems, if it has one."""
    known = {name: Mazes(**options) for name, options in ({MAZE: {}} | MAZES).items()}
    known |= {name: Levels(**options) for name, options in ({SOKOBAN: {}} | SOKOBANS).items()}
    return next((name for name, one in known.items() if one == problems), None)
