"""Tasks on trajectories."""

from headway.rl.tasks.imitation import Imitation

__all__ = ["Imitation"]
