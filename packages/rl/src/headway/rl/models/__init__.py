"""Decision models and the policies that act with them."""

from headway.rl.models.act import ACT
from headway.rl.models.base import DecisionModel, Statistics
from headway.rl.models.behavior_transformer import BehaviorTransformer
from headway.rl.models.behaviour_cloning import BehaviourCloning
from headway.rl.models.body_transformer import BodyTransformer
from headway.rl.models.chunk import ChunkModel
from headway.rl.models.chunk_policy import ChunkPolicy, ChunkState
from headway.rl.models.decision_convformer import DecisionConvFormer
from headway.rl.models.decision_transformer import DecisionTransformer
from headway.rl.models.diffusion_policy import DiffusionPolicy
from headway.rl.models.in_context_policy import InContextPolicy
from headway.rl.models.policy import Policy
from headway.rl.models.pretrained import pretrained
from headway.rl.models.pretrained_transformer import DecisionPretrainedTransformer
from headway.rl.models.rate import RATE
from headway.rl.models.scripted_policy import RandomPolicy, ScriptedPolicy
from headway.rl.models.sequence_policy import PolicyState, SequencePolicy
from headway.rl.models.task_planner import TaskPlanner
from headway.rl.models.trajectory import TrajectoryModel

__all__ = [
    "ACT",
    "RATE",
    "BehaviorTransformer",
    "BehaviourCloning",
    "BodyTransformer",
    "ChunkModel",
    "ChunkPolicy",
    "ChunkState",
    "DecisionConvFormer",
    "DecisionModel",
    "DecisionPretrainedTransformer",
    "DecisionTransformer",
    "DiffusionPolicy",
    "InContextPolicy",
    "Policy",
    "PolicyState",
    "RandomPolicy",
    "ScriptedPolicy",
    "SequencePolicy",
    "Statistics",
    "TaskPlanner",
    "TrajectoryModel",
    "list_models",
    "pretrained",
]


def list_models() -> list[str]:
    """Returns the names of the models."""
    return [
        "ACT",
        "BehaviorTransformer",
        "BehaviourCloning",
        "BodyTransformer",
        "DecisionConvFormer",
        "DecisionPretrainedTransformer",
        "DecisionTransformer",
        "DiffusionPolicy",
        "RATE",
        "TaskPlanner",
    ]
