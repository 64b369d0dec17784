"""Tasks on trajectories and planning problems."""

from headway.rl.tasks.imitation import Imitation
from headway.rl.tasks.iterative_inversion import IterativeInversion
from headway.rl.tasks.offline_actor_critic import OfflineActorCritic
from headway.rl.tasks.online_actor_critic import OnlineActorCritic
from headway.rl.tasks.planning import Planning
from headway.rl.tasks.trying import Trying

__all__ = [
    "Imitation",
    "IterativeInversion",
    "OfflineActorCritic",
    "OnlineActorCritic",
    "Planning",
    "Trying",
]
