"""Environments that headway brings along; importing this registers them with gymnasium."""

import gymnasium

from headway.rl.environments.babyai import BabyAI
from headway.rl.environments.catch import Catch
from headway.rl.environments.crossing import Crossing, CrossingExpert
from headway.rl.environments.curves import Curves
from headway.rl.environments.dishwasher import Dishwasher, load_as_shown
from headway.rl.environments.half_cheetah import HALF_CHEETAH, HalfCheetahGait
from headway.rl.environments.key_to_door import KeyToDoor
from headway.rl.environments.making import check_drawn, make_vector, refuse_import
from headway.rl.environments.maze import MazeWalk
from headway.rl.environments.planning import PlanningWalk, astar_move
from headway.rl.environments.problem_names import (
    MAZE,
    MAZES,
    SOKOBAN,
    SOKOBANS,
    environment_of,
)
from headway.rl.environments.reach_push import ReachPush, ReachPushExpert
from headway.rl.environments.reading import named, read_space, read_spaces
from headway.rl.environments.rearrange import Rearrange, RearrangeExpert
from headway.rl.environments.ring import Ring
from headway.rl.environments.sled import Sled
from headway.rl.environments.sokoban import SokobanPush
from headway.rl.environments.t_maze import TMaze, right_way
from headway.rl.environments.tandem import ClumsyCarrier, Tandem
from headway.rl.environments.two_way import TwoWay, TwoWayExpert

# Their environments are headway/<level>-v0; they need minigrid.
BABYAI_LEVELS = ("GoToRedBallGrey", "GoToLocal")
BANDIT = "headway/Bandit-v0"
CATCH = "headway/Catch-v0"
CATCH_ONCE = "headway/CatchOnce-v0"
CROSSING = "headway/Crossing-v0"
CURVES = "headway/Curves-v0"
DISHWASHER = "headway/Dishwasher-v0"
DISTURBED = "headway/Disturbed-v0"
HELD_OUT_DISHES = "headway/HeldOutDishes-v0"
KEY_TO_DOOR = "headway/KeyToDoor-v0"
REACH_PUSH = "headway/ReachPush-v0"
REARRANGE = "headway/Rearrange-v0"
RING = "headway/Ring-v0"
SLED = "headway/Sled-v0"
HELD_OUT_SLED = "headway/HeldOutSled-v0"
ONE_SLED = "headway/OneSled-v0"
TANDEM = "headway/Tandem-v0"
T_MAZE = "headway/TMaze-v0"
TWO_WAY = "headway/TwoWay-v0"
# Corridors that have names of their own, for programs that take a name and no arguments.
T_MAZES = {f"headway/TMaze{length}-v0": {"length": length} for length in (10, 20, 40, 80, 160)}

for _name, _where, _options in (
    *((f"headway/{level}-v0", "babyai:BabyAI", {"level": level}) for level in BABYAI_LEVELS),
    (BANDIT, "bandit:Bandit", {}),
    (CATCH, "catch:Catch", {}),
    (CATCH_ONCE, "catch:Catch", {"shown": 1}),
    (CROSSING, "crossing:Crossing", {}),
    (CURVES, "curves:Curves", {}),
    (DISHWASHER, "dishwasher:Dishwasher", {}),
    (HELD_OUT_DISHES, "dishwasher:Dishwasher", {"preferences": "held out"}),
    (KEY_TO_DOOR, "key_to_door:KeyToDoor", {}),
    (MAZE, "maze:MazeWalk", {}),
    (REACH_PUSH, "reach_push:ReachPush", {}),
    (REARRANGE, "rearrange:Rearrange", {}),
    (DISTURBED, "rearrange:Rearrange", {"disturbed": True}),
    (RING, "ring:Ring", {}),
    (T_MAZE, "t_maze:TMaze", {}),
    (SLED, "sled:Sled", {}),
    (SOKOBAN, "sokoban:SokobanPush", {}),
    (HELD_OUT_SLED, "sled:Sled", {"bodies": "held out"}),
    (ONE_SLED, "sled:Sled", {"bodies": "one"}),
    (TANDEM, "tandem:Tandem", {}),
    (TWO_WAY, "two_way:TwoWay", {}),
    *((name, "maze:MazeWalk", options) for name, options in MAZES.items()),
    *((name, "sokoban:SokobanPush", options) for name, options in SOKOBANS.items()),
    *((name, "t_maze:TMaze", options) for name, options in T_MAZES.items()),
):
    if _name not in gymnasium.registry:
        gymnasium.register(_name, entry_point=f"headway.rl.environments.{_where}", kwargs=_options)

__all__ = [
    "BABYAI_LEVELS",
    "BANDIT",
    "CATCH",
    "CATCH_ONCE",
    "CROSSING",
    "CURVES",
    "DISHWASHER",
    "DISTURBED",
    "HALF_CHEETAH",
    "HELD_OUT_DISHES",
    "HELD_OUT_SLED",
    "KEY_TO_DOOR",
    "MAZE",
    "MAZES",
    "ONE_SLED",
    "REACH_PUSH",
    "REARRANGE",
    "RING",
    "SLED",
    "SOKOBAN",
    "SOKOBANS",
    "TANDEM",
    "TWO_WAY",
    "T_MAZE",
    "T_MAZES",
    "BabyAI",
    "Catch",
    "ClumsyCarrier",
    "Crossing",
    "CrossingExpert",
    "Curves",
    "Dishwasher",
    "HalfCheetahGait",
    "KeyToDoor",
    "MazeWalk",
    "PlanningWalk",
    "ReachPush",
    "ReachPushExpert",
    "Rearrange",
    "RearrangeExpert",
    "Ring",
    "Sled",
    "SokobanPush",
    "TMaze",
    "Tandem",
    "TwoWay",
    "TwoWayExpert",
    "astar_move",
    "check_drawn",
    "environment_of",
    "load_as_shown",
    "make_vector",
    "named",
    "read_space",
    "read_spaces",
    "refuse_import",
    "right_way",
]
