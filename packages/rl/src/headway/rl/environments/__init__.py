"""Environments that headway brings along; importing this registers them with gymnasium."""

import gymnasium

from headway.rl.environments.key_to_door import KeyToDoor
from headway.rl.environments.making import check_drawn, make_vector, refuse_import
from headway.rl.environments.reading import named, read_space, read_spaces

KEY_TO_DOOR = "headway/KeyToDoor-v0"
BANDIT = "headway/Bandit-v0"

ENTRY_POINTS = {
    KEY_TO_DOOR: "headway.rl.environments.key_to_door:KeyToDoor",
    BANDIT: "headway.rl.environments.bandit:Bandit",
}
for name, entry_point in ENTRY_POINTS.items():
    if name not in gymnasium.registry:
        gymnasium.register(name, entry_point=entry_point)

__all__ = [
    "BANDIT",
    "KEY_TO_DOOR",
    "KeyToDoor",
    "check_drawn",
    "make_vector",
    "named",
    "read_space",
    "read_spaces",
    "refuse_import",
]
