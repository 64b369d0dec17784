"""A dynamics model that is a transformer over tokens, and planning with it."""

from headway.rl.models.tdm.model import TDM
from headway.rl.models.tdm.planners import MPPI, CrossEntropy, Planner, RandomShooting
from headway.rl.models.tdm.policy import PlanningPolicy

__all__ = ["MPPI", "TDM", "CrossEntropy", "Planner", "PlanningPolicy", "RandomShooting"]
