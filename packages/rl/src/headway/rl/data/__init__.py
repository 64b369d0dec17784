"""Trajectories: from Minari, from arrays, from random walks."""

from headway.rl.data.base import TrajectoryData
from headway.rl.data.in_memory import InMemoryTrajectories
from headway.rl.data.key_to_door import KeyToDoorData
from headway.rl.data.minari import MinariData
from headway.rl.data.sampling import BalancedReturns, Sampling, UniformSteps
from headway.rl.data.trajectory import Trajectory, checked
from headway.rl.data.windows import Window

__all__ = [
    "BalancedReturns",
    "InMemoryTrajectories",
    "KeyToDoorData",
    "MinariData",
    "Sampling",
    "Trajectory",
    "TrajectoryData",
    "UniformSteps",
    "Window",
    "checked",
]
