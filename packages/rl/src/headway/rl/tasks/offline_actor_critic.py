"""Learning how good actions are from trajectories."""

from typing import Any

from torch import nn

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.batch import Batch
from headway.rl.models.actor_critic import ActorCritic
from headway.rl.tasks.imitation import Imitation, ImitationOptions


class OfflineActorCritic(Imitation):
    """Trains actor and critics on recorded steps: IQL, TD3+BC.

    The losses of a model reach each its own parts, and Adam moves each weight by its own gradients: one
    optimiser of all is one for each. So the gradient should not be clipped by its norm, which would tie
    them. After each step the slow copies follow. It logs ``train_loss``, ``val_loss`` and those of the parts.

    Args:
        backbone: An actor with critics.
        **imitation: As of ``Imitation``: targets, episodes, environments, optimizer, schedule ...

    Raises:
        UserError: If the model is no ``ActorCritic``.
    """

    def __init__(self, *, backbone: nn.Module, **imitation: Passed[ImitationOptions]) -> None:
        super().__init__(backbone=backbone, **imitation)
        if not isinstance(backbone, ActorCritic):
            raise UserError(
                f"{type(backbone).__name__} has no critics; train it with headway.rl.tasks.Imitation"
            )

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Lets the slow copies follow."""
        assert isinstance(self.backbone, ActorCritic)
        self.backbone.follow()
