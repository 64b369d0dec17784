"""Trajectories: from Minari, from arrays, from scripts."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily
from headway.rl.batch import Batch
from headway.rl.data.sampling import BalancedReturns, Sampling, UniformSteps
from headway.rl.data.trajectory import Trajectory, checked

if TYPE_CHECKING:
    from headway.rl.data.base import TrajectoryData
    from headway.rl.data.in_memory import InMemoryTrajectories
    from headway.rl.data.key_to_door import KeyToDoorData
    from headway.rl.data.minari import MinariData
    from headway.rl.data.reach_push import ReachPushData
    from headway.rl.data.scripted import ScriptedData
    from headway.rl.data.two_way import TwoWayData

__all__ = [
    "BalancedReturns",
    "Batch",
    "InMemoryTrajectories",
    "KeyToDoorData",
    "MinariData",
    "ReachPushData",
    "Sampling",
    "ScriptedData",
    "Trajectory",
    "TrajectoryData",
    "TwoWayData",
    "UniformSteps",
    "checked",
]

# They need Lightning, which loads when one of them does.
__getattr__ = lazily(
    __name__,
    {
        "InMemoryTrajectories": "in_memory",
        "KeyToDoorData": "key_to_door",
        "MinariData": "minari",
        "ReachPushData": "reach_push",
        "ScriptedData": "scripted",
        "TrajectoryData": "base",
        "TwoWayData": "two_way",
    },
)
