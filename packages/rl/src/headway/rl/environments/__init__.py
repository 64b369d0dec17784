"""Environments that headway brings along; importing this registers them with gymnasium."""

import gymnasium

from headway.rl.environments.key_to_door import KeyToDoor
from headway.rl.environments.making import make_vector, refuse_import
from headway.rl.environments.reading import named, read_space, read_spaces

KEY_TO_DOOR = "headway/KeyToDoor-v0"

if KEY_TO_DOOR not in gymnasium.registry:
    gymnasium.register(KEY_TO_DOOR, entry_point="headway.rl.environments.key_to_door:KeyToDoor")

__all__ = [
    "KEY_TO_DOOR",
    "KeyToDoor",
    "make_vector",
    "named",
    "read_space",
    "read_spaces",
    "refuse_import",
]
