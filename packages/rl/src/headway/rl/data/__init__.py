"""Trajectories and planning problems: from Minari, D4RL, pickles, arrays, random walks."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily
from headway.rl.batch import Batch
from headway.rl.data.chains import Chain
from headway.rl.data.hindsight import hindsight
from headway.rl.data.sampling import BalancedReturns, Sampling, ShortFirst, UniformSteps
from headway.rl.data.trajectory import Trajectory, checked

if TYPE_CHECKING:
    from headway.rl.data.babyai import BabyAIData
    from headway.rl.data.bandit import BanditData
    from headway.rl.data.base import TrajectoryData
    from headway.rl.data.bootstrapped_search import BootstrappedSearchData
    from headway.rl.data.cart_pole import CartPoleData
    from headway.rl.data.crossing import CrossingData
    from headway.rl.data.d4rl import D4RLData
    from headway.rl.data.dishwasher import DishwasherData
    from headway.rl.data.half_cheetah import HalfCheetahData
    from headway.rl.data.in_memory import InMemoryTrajectories
    from headway.rl.data.key_to_door import KeyToDoorData
    from headway.rl.data.lerobot import LeRobotData
    from headway.rl.data.maze_paths import MazePathData
    from headway.rl.data.maze_search import MazeSearchData
    from headway.rl.data.minari import MinariData
    from headway.rl.data.pickled import PickledTrajectories
    from headway.rl.data.played import RandomPlay
    from headway.rl.data.reach_push import ReachPushData
    from headway.rl.data.rearrange import RearrangeData
    from headway.rl.data.recorded import RecordedTrajectories
    from headway.rl.data.ring import RingData
    from headway.rl.data.scripted import ScriptedData
    from headway.rl.data.search import SearchData
    from headway.rl.data.sokoban_search import SokobanSearchData
    from headway.rl.data.t_maze import TMazeData
    from headway.rl.data.tandem import TandemData
    from headway.rl.data.two_way import TwoWayData

__all__ = [
    "BabyAIData",
    "BalancedReturns",
    "BanditData",
    "Batch",
    "BootstrappedSearchData",
    "CartPoleData",
    "Chain",
    "CrossingData",
    "D4RLData",
    "DishwasherData",
    "HalfCheetahData",
    "InMemoryTrajectories",
    "KeyToDoorData",
    "LeRobotData",
    "MazePathData",
    "MazeSearchData",
    "MinariData",
    "PickledTrajectories",
    "RandomPlay",
    "ReachPushData",
    "RearrangeData",
    "RecordedTrajectories",
    "RingData",
    "Sampling",
    "ScriptedData",
    "SearchData",
    "ShortFirst",
    "SokobanSearchData",
    "TMazeData",
    "TandemData",
    "Trajectory",
    "TrajectoryData",
    "TwoWayData",
    "UniformSteps",
    "checked",
    "hindsight",
]

# They need Lightning, which loads when one of them does.
__getattr__ = lazily(
    __name__,
    {
        "BabyAIData": "babyai",
        "BanditData": "bandit",
        "BootstrappedSearchData": "bootstrapped_search",
        "CartPoleData": "cart_pole",
        "CrossingData": "crossing",
        "D4RLData": "d4rl",
        "DishwasherData": "dishwasher",
        "HalfCheetahData": "half_cheetah",
        "InMemoryTrajectories": "in_memory",
        "KeyToDoorData": "key_to_door",
        "LeRobotData": "lerobot",
        "MazePathData": "maze_paths",
        "MazeSearchData": "maze_search",
        "MinariData": "minari",
        "PickledTrajectories": "pickled",
        "RandomPlay": "played",
        "RearrangeData": "rearrange",
        "RecordedTrajectories": "recorded",
        "RingData": "ring",
        "TMazeData": "t_maze",
        "ReachPushData": "reach_push",
        "ScriptedData": "scripted",
        "SearchData": "search",
        "SokobanSearchData": "sokoban_search",
        "TandemData": "tandem",
        "TrajectoryData": "base",
        "TwoWayData": "two_way",
    },
)
