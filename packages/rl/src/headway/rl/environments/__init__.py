"""Environments that headway brings along; importing this registers them with gymnasium."""

import gymnasium

from headway.rl.environments.key_to_door import KeyToDoor
from headway.rl.environments.making import check_drawn, make_vector, refuse_import
from headway.rl.environments.reading import named, read_space, read_spaces
from headway.rl.environments.t_maze import TMaze, right_way

KEY_TO_DOOR = "headway/KeyToDoor-v0"
BANDIT = "headway/Bandit-v0"
T_MAZE = "headway/TMaze-v0"
# Corridors that have names of their own, for programs that take a name and no arguments.
T_MAZES = {f"headway/TMaze{length}-v0": {"length": length} for length in (10, 20, 40, 80, 160)}

for _name, _where, _options in (
    (KEY_TO_DOOR, "key_to_door:KeyToDoor", {}),
    (BANDIT, "bandit:Bandit", {}),
    (T_MAZE, "t_maze:TMaze", {}),
    *((name, "t_maze:TMaze", options) for name, options in T_MAZES.items()),
):
    if _name not in gymnasium.registry:
        gymnasium.register(_name, entry_point=f"headway.rl.environments.{_where}", kwargs=_options)

__all__ = [
    "BANDIT",
    "KEY_TO_DOOR",
    "T_MAZE",
    "T_MAZES",
    "KeyToDoor",
    "TMaze",
    "check_drawn",
    "make_vector",
    "named",
    "read_space",
    "read_spaces",
    "refuse_import",
    "right_way",
]
