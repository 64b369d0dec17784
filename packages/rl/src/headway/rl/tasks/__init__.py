"""Tasks on trajectories."""

from headway.rl.tasks.imitation import Imitation
from headway.rl.tasks.offline_actor_critic import OfflineActorCritic

__all__ = ["Imitation", "OfflineActorCritic"]
