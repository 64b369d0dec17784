"""Parts that only decision models need."""

from headway.rl.layers.actions import ActionSpace, ContinuousActions, DiscreteActions

__all__ = ["ActionSpace", "ContinuousActions", "DiscreteActions"]
