"""Learning how good actions are from trajectories."""

from typing import Any

from torch import nn

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.batch import Batch
from headway.rl.data import TrajectoryData
from headway.rl.models.judging import Judging
from headway.rl.tasks.imitation import Imitation, ImitationOptions


class OfflineActorCritic(Imitation):
    """Trains actor and critics on recorded steps: IQL, TD3+BC, Q-Transformer.

    The losses of a model reach each its own parts, and Adam moves each weight by its own gradients: one
    optimiser of all is one for each. So the gradient should not be clipped by its norm, which would tie
    them. After each step the slow copies follow. It logs ``train_loss``, ``val_loss`` and those of the parts.

    Args:
        backbone: An actor with critics, or a ``QTransformer``.
        **imitation: As of ``Imitation``: targets, episodes, environments, optimizer, schedule ...

    Raises:
        UserError: If the model judges no actions, or the data count later rewards otherwise.
    """

    def __init__(self, *, backbone: nn.Module, **imitation: Passed[ImitationOptions]) -> None:
        super().__init__(backbone=backbone, **imitation)
        if not isinstance(backbone, Judging):
            raise UserError(
                f"{type(backbone).__name__} does not judge actions; train it with headway.rl.tasks.Imitation"
            )

    def setup(self, stage: str) -> None:
        """Checks that data and model belong together, and count later rewards alike."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, TrajectoryData):
            check_discount(self.backbone, data)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Lets the slow copies follow."""
        assert isinstance(self.backbone, Judging)
        self.backbone.follow()


def check_discount(model: nn.Module, data: TrajectoryData) -> None:
    """Raises ``UserError`` if a model reads what came about, and the data count later rewards otherwise."""
    wanted = getattr(model, "discount", data.discount)
    if getattr(model, "monte_carlo", False) and data.discount != wanted:
        raise UserError(
            f"the data discount by {data.discount}, the model by {wanted}; set the data's discount to "
            f"{wanted}, or the model's monte_carlo to false"
        )
