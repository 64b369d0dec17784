"""Optimisers of molecules: they propose, a scorer answers, they learn."""

from headway.molecules.optimization.agent import LearningAgent
from headway.molecules.optimization.base import Optimizer, Proposal
from headway.molecules.optimization.diversity import ScaffoldBuckets
from headway.molecules.optimization.graph_ga import GraphGA
from headway.molecules.optimization.joint import JointOptimization
from headway.molecules.optimization.memory import Memory
from headway.molecules.optimization.pair_tuned import PairTuned
from headway.molecules.optimization.pairs import PairTuning, mine_pairs
from headway.molecules.optimization.ppo import PPO
from headway.molecules.optimization.reinvent import Reinvent
from headway.molecules.optimization.running import Run
from headway.molecules.optimization.targets import Targets

__all__ = [
    "PPO",
    "GraphGA",
    "JointOptimization",
    "LearningAgent",
    "Memory",
    "Optimizer",
    "PairTuned",
    "PairTuning",
    "Proposal",
    "Reinvent",
    "Run",
    "ScaffoldBuckets",
    "Targets",
    "mine_pairs",
]
