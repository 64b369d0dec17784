"""Environments that headway brings along; importing this registers them with gymnasium."""

import gymnasium

from headway.rl.environments.key_to_door import KeyToDoor
from headway.rl.environments.making import make_vector, refuse_import
from headway.rl.environments.reach_push import ReachPush, ReachPushExpert
from headway.rl.environments.reading import named, read_space, read_spaces
from headway.rl.environments.two_way import TwoWay, TwoWayExpert

KEY_TO_DOOR = "headway/KeyToDoor-v0"
REACH_PUSH = "headway/ReachPush-v0"
TWO_WAY = "headway/TwoWay-v0"

for _name, _where in {
    KEY_TO_DOOR: "key_to_door:KeyToDoor",
    REACH_PUSH: "reach_push:ReachPush",
    TWO_WAY: "two_way:TwoWay",
}.items():
    if _name not in gymnasium.registry:
        gymnasium.register(_name, entry_point=f"headway.rl.environments.{_where}")

__all__ = [
    "KEY_TO_DOOR",
    "REACH_PUSH",
    "TWO_WAY",
    "KeyToDoor",
    "ReachPush",
    "ReachPushExpert",
    "TwoWay",
    "TwoWayExpert",
    "make_vector",
    "named",
    "read_space",
    "read_spaces",
    "refuse_import",
]
