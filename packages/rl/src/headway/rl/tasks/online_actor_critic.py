"""An actor with states and its critics, learning in the environment."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import evaluating
from headway.core.training import Passed
from headway.rl.batch import Batch
from headway.rl.data import Trajectory, TrajectoryData
from headway.rl.data.windows import cut
from headway.rl.models import OnlineDecisionS4
from headway.rl.tasks.trying import Trying, TryingOptions

# Episodes whose states are made side by side.
SIDE_BY_SIDE = 64


class OnlineActorCritic(Trying):
    """Plays before every epoch but the first, and trains actor and critics on what is kept of all episodes.

    Before each epoch the states that are carried into each step are made anew for all that is kept. The data
    need ``next_observations: true``, and a ``context_length`` of a few steps: so far the gradient looks
    back. Batches should begin anywhere (``any_start: true``). Let ``noise`` be 0: the head of actions draws.

    Args:
        backbone: An ``OnlineDecisionS4``.
        critic_first: Updates in which the critics alone learn.
        actor_every: The actor learns at each so many updates, so that the critics know what it does now.
        **trying: As of ``Trying``: rollouts, noise, tried_target, keep, targets, episodes, environments,
            optimizer ...

    Raises:
        UserError: If it is another model.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        critic_first: int = 0,
        actor_every: int = 2,
        noise: float = 0.0,
        **trying: Passed[TryingOptions],
    ) -> None:
        super().__init__(backbone=backbone, noise=noise, **trying)
        if not isinstance(backbone, OnlineDecisionS4):
            raise UserError(
                f"{type(backbone).__name__} carries no states that are judged; the backbone is an "
                "OnlineDecisionS4, such as headway.rl.models.online_decision_s4 makes of a run"
            )
        if critic_first < 0 or actor_every < 1:
            raise UserError(
                f"critic_first is {critic_first} and actor_every {actor_every}; they must be at least 0 and 1"
            )
        self.critic_first, self.actor_every = critic_first, actor_every

    def relabel(self, played: Trajectory) -> Trajectory:
        """Notes what was asked for."""
        return replace(played, asked=self.tried_target)

    def on_train_epoch_start(self) -> None:
        """Tries, and makes the states anew."""
        super().on_train_epoch_start()
        self._carry("train")

    def on_validation_epoch_start(self) -> None:
        """Makes the states of what validates."""
        super().on_validation_epoch_start()
        self._carry("val")

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Returns the losses of critics and actor, or of the critics alone."""
        found = super().training_step(batch, index)
        step = self.trainer.global_step
        acts = step >= self.critic_first and step % self.actor_every == 0
        return found if acts else self._critic

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Lets the slow copies follow."""
        assert isinstance(self.backbone, OnlineDecisionS4)
        self.backbone.follow()

    def _log(self, split: str, losses: dict[str, Tensor], batch: Batch, **options: Any) -> None:
        self._critic = losses["critic"]
        super()._log(split, losses, batch, **options)

    def _carry(self, part: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, TrajectoryData):
            data.carry(part, self.states)

    def states(self, episodes: Sequence[Trajectory]) -> list[NDArray[np.float32]]:
        """Returns what the model carries into each step of episodes, (T, K) each."""
        assert isinstance(self.backbone, OnlineDecisionS4)
        found: list[NDArray[np.float32]] = []
        with evaluating(self.backbone):
            for at in range(0, len(episodes), SIDE_BY_SIDE):
                some = episodes[at : at + SIDE_BY_SIDE]
                longest = max(map(len, some))
                # Padding stands behind what is real, so nothing that is kept has seen it.
                whole = TrajectoryData.collate(
                    [cut(replace(one, carried=None), 0, longest) for one in some]
                )
                batch = self.transfer_batch_to_device(whole, self.device, 0)
                rows = self.backbone.states(batch).cpu().numpy()
                found += [row[: len(one)].copy() for row, one in zip(rows, some, strict=True)]
        return found
