"""Trajectories: from Minari, D4RL, pickles, arrays, random walks."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily
from headway.rl.batch import Batch
from headway.rl.data.sampling import BalancedReturns, Sampling, UniformSteps
from headway.rl.data.trajectory import Trajectory, checked

if TYPE_CHECKING:
    from headway.rl.data.bandit import BanditData
    from headway.rl.data.base import TrajectoryData
    from headway.rl.data.cart_pole import CartPoleData
    from headway.rl.data.d4rl import D4RLData
    from headway.rl.data.dishwasher import DishwasherData
    from headway.rl.data.half_cheetah import HalfCheetahData
    from headway.rl.data.in_memory import InMemoryTrajectories
    from headway.rl.data.key_to_door import KeyToDoorData
    from headway.rl.data.lerobot import LeRobotData
    from headway.rl.data.minari import MinariData
    from headway.rl.data.pickled import PickledTrajectories
    from headway.rl.data.reach_push import ReachPushData
    from headway.rl.data.recorded import RecordedTrajectories
    from headway.rl.data.scripted import ScriptedData
    from headway.rl.data.t_maze import TMazeData
    from headway.rl.data.two_way import TwoWayData

__all__ = [
    "BalancedReturns",
    "BanditData",
    "Batch",
    "CartPoleData",
    "D4RLData",
    "DishwasherData",
    "HalfCheetahData",
    "InMemoryTrajectories",
    "KeyToDoorData",
    "LeRobotData",
    "MinariData",
    "PickledTrajectories",
    "ReachPushData",
    "RecordedTrajectories",
    "Sampling",
    "ScriptedData",
    "TMazeData",
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
        "BanditData": "bandit",
        "CartPoleData": "cart_pole",
        "D4RLData": "d4rl",
        "DishwasherData": "dishwasher",
        "HalfCheetahData": "half_cheetah",
        "InMemoryTrajectories": "in_memory",
        "KeyToDoorData": "key_to_door",
        "LeRobotData": "lerobot",
        "MinariData": "minari",
        "PickledTrajectories": "pickled",
        "RecordedTrajectories": "recorded",
        "TMazeData": "t_maze",
        "ReachPushData": "reach_push",
        "ScriptedData": "scripted",
        "TrajectoryData": "base",
        "TwoWayData": "two_way",
    },
)
