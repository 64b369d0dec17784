"""Tasks on trajectories and mazes."""

from headway.rl.tasks.imitation import Imitation
from headway.rl.tasks.iterative_inversion import IterativeInversion
from headway.rl.tasks.offline_actor_critic import OfflineActorCritic
from headway.rl.tasks.planning import MazePlanning
from headway.rl.tasks.trying import Trying

__all__ = ["Imitation", "IterativeInversion", "MazePlanning", "OfflineActorCritic", "Trying"]
