"""Decision models and the policies that act with them."""

from headway.rl.models.act import ACT
from headway.rl.models.acting import ActingModel
from headway.rl.models.actor_critic import ActorCritic
from headway.rl.models.agentic_transformer import AgenticTransformer
from headway.rl.models.base import DecisionModel, Statistics
from headway.rl.models.behavior_transformer import BehaviorTransformer
from headway.rl.models.behaviour_cloning import BehaviourCloning
from headway.rl.models.body_transformer import BodyTransformer
from headway.rl.models.chain_policy import ChainPolicy, ChainState
from headway.rl.models.chunk import ChunkModel
from headway.rl.models.chunk_policy import ChunkPolicy, ChunkState
from headway.rl.models.dart import DART
from headway.rl.models.decision_convformer import DecisionConvFormer
from headway.rl.models.decision_s4 import DecisionS4
from headway.rl.models.decision_transformer import DecisionTransformer
from headway.rl.models.diffusion_policy import DiffusionPolicy
from headway.rl.models.diffusion_unet import DiffusionUNet
from headway.rl.models.implicit_q_learning import ImplicitQLearning
from headway.rl.models.in_context_policy import InContextPolicy
from headway.rl.models.maze_transformer import MazeTransformer
from headway.rl.models.noisy_policy import NoisyPolicy
from headway.rl.models.online_decision_s4 import OnlineDecisionS4, online_decision_s4
from headway.rl.models.online_decision_transformer import OnlineDecisionTransformer
from headway.rl.models.plan_policy import PlanPolicy
from headway.rl.models.planning_model import PlanningModel
from headway.rl.models.policy import Policy
from headway.rl.models.pretrained import pretrained, trained_searchformer
from headway.rl.models.pretrained_transformer import DecisionPretrainedTransformer
from headway.rl.models.q_transformer import QTransformer
from headway.rl.models.rate import RATE
from headway.rl.models.reactive_policy import ReactivePolicy
from headway.rl.models.scripted_policy import RandomPolicy, ScriptedPolicy
from headway.rl.models.searchformer import Searchformer
from headway.rl.models.sequence_policy import PolicyState, SequencePolicy
from headway.rl.models.skill_transformer import SkillTransformer
from headway.rl.models.task_planner import TaskPlanner
from headway.rl.models.td3_bc import TD3BC
from headway.rl.models.tdm import MPPI, TDM, CrossEntropy, Planner, PlanningPolicy, RandomShooting
from headway.rl.models.trajectory import TrajectoryModel
from headway.rl.models.vq_bet import VQBeT

__all__ = [
    "ACT",
    "DART",
    "MPPI",
    "RATE",
    "TD3BC",
    "TDM",
    "ActingModel",
    "ActorCritic",
    "AgenticTransformer",
    "BehaviorTransformer",
    "BehaviourCloning",
    "BodyTransformer",
    "ChainPolicy",
    "ChainState",
    "ChunkModel",
    "ChunkPolicy",
    "ChunkState",
    "CrossEntropy",
    "DecisionConvFormer",
    "DecisionModel",
    "DecisionPretrainedTransformer",
    "DecisionS4",
    "DecisionTransformer",
    "DiffusionPolicy",
    "DiffusionUNet",
    "ImplicitQLearning",
    "InContextPolicy",
    "MazeTransformer",
    "NoisyPolicy",
    "OnlineDecisionS4",
    "OnlineDecisionTransformer",
    "PlanPolicy",
    "Planner",
    "PlanningModel",
    "PlanningPolicy",
    "Policy",
    "PolicyState",
    "QTransformer",
    "RandomPolicy",
    "RandomShooting",
    "ReactivePolicy",
    "ScriptedPolicy",
    "Searchformer",
    "SequencePolicy",
    "SkillTransformer",
    "Statistics",
    "TaskPlanner",
    "TrajectoryModel",
    "VQBeT",
    "list_models",
    "online_decision_s4",
    "pretrained",
    "trained_searchformer",
]


def list_models() -> list[str]:
    """Returns the names of the models."""
    return [
        "ACT",
        "AgenticTransformer",
        "BehaviorTransformer",
        "BehaviourCloning",
        "DART",
        "BodyTransformer",
        "DecisionConvFormer",
        "DecisionPretrainedTransformer",
        "DecisionS4",
        "DecisionTransformer",
        "DiffusionPolicy",
        "DiffusionUNet",
        "ImplicitQLearning",
        "MazeTransformer",
        "OnlineDecisionS4",
        "OnlineDecisionTransformer",
        "QTransformer",
        "RATE",
        "Searchformer",
        "SkillTransformer",
        "TD3BC",
        "TDM",
        "TaskPlanner",
        "VQBeT",
    ]
