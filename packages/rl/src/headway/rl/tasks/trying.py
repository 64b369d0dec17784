"""Learning from what the model itself has tried."""

from typing import Any

import numpy as np
from torch import nn

from headway.core.errors import UserError
from headway.core.module import evaluating
from headway.core.training import Passed
from headway.rl.data import Trajectory, TrajectoryData
from headway.rl.data.collecting import record, trajectory
from headway.rl.environments import make_vector
from headway.rl.models import NoisyPolicy
from headway.rl.tasks.imitation import Imitation, ImitationOptions

# Not those episodes that choose a checkpoint, nor those that headway rollout plays.
FIRST_SEED = 2 * 10**6


class TryingOptions(ImitationOptions, total=False):
    """What a ``Trying`` passes on, or takes itself besides ``noise``."""

    rollouts: int
    tried_target: float
    keep: int


class Trying(Imitation):
    """Plays before every epoch but the first, and trains on what it has played.

    It logs ``train_return``, of the episodes that were tried. The data begin with what others have done, such
    as chance (``headway.rl.data.RandomPlay``).

    Args:
        backbone: A decision model.
        rollouts: Episodes before each epoch; 0 for none.
        noise: Of the actions that are tried, see ``NoisyPolicy``; 0 where the model's own actions are drawn.
        tried_target: Return that is asked for in tries, of models that read one.
        keep: How many episodes are learned from, the newest.
        **imitation: As of ``Imitation``: targets, episodes, environments, optimizer ...
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        rollouts: int = 100,
        noise: float = 0.3,
        tried_target: float = 0.0,
        keep: int = 1000,
        **imitation: Passed[ImitationOptions],
    ) -> None:
        super().__init__(backbone=backbone, **imitation)
        if rollouts < 0 or keep < 2:
            raise UserError(
                f"rollouts is {rollouts} and keep {keep}; they must be at least 0 and 2"
            )
        self.rollouts, self.noise, self.keep = rollouts, noise, keep
        self.tried_target = tried_target
        self.tried = 0  # the last epoch before which it has tried

    def relabel(self, played: Trajectory) -> Trajectory:
        """Returns an episode as it is learned from; a subclass may change what it was played for."""
        return played

    def on_train_epoch_start(self) -> None:
        """Tries, and gives the data what came about."""
        super().on_train_epoch_start()
        epoch = self.trainer.current_epoch
        # A run that is resumed within an epoch has what was tried before it.
        if not self.rollouts or epoch <= self.tried:
            return
        self.tried = epoch
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TrajectoryData):
            raise UserError("rollouts need a data module of trajectories; set rollouts to 0")
        envs = make_vector(self.environment("rollouts"), min(self.environments, self.rollouts))
        try:
            with evaluating(self.model):
                policy = self.model.policy(target_return=self.tried_target)
                policy = NoisyPolicy(policy, noise=self.noise)
                first = FIRST_SEED + epoch * self.rollouts
                found = record(
                    policy, envs, episodes=self.rollouts, seed=first, deterministic=False
                )
        finally:
            envs.close()
        tried = [trajectory(one, data.spaces) for one in found]
        reached = float(np.mean([one.total for one in tried]))
        self.log("train_return", reached, prog_bar=True)
        data.add([self.relabel(one) for one in tried], keep=self.keep)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes how often it has tried; the episodes are in the state of the data."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["tried"] = self.tried

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes what was noted."""
        super().on_load_checkpoint(checkpoint)
        self.tried = checkpoint.get("tried", 0)
