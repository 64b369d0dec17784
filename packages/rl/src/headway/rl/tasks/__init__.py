"""Tasks on trajectories and mazes."""

from headway.rl.tasks.imitation import Imitation
from headway.rl.tasks.planning import MazePlanning

__all__ = ["Imitation", "MazePlanning"]
