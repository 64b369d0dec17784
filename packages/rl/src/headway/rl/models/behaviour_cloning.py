"""Behaviour cloning with a history."""

from typing import ClassVar

import torch
from torch import Tensor

from headway.rl.layers.observations import Observations
from headway.rl.models.trajectory import TrajectoryModel


class BehaviourCloning(TrajectoryModel):
    """Predicts actions from observations and past actions alone: it does what the data do.

    Trained on the best trajectories only (``top_fraction`` of the data), it is the baseline that a
    decision transformer must beat. See ``TrajectoryModel`` for the arguments; ``returns_to_go`` is not
    looked at.

    Source:
        Chen et al. 2021, https://arxiv.org/abs/2106.01345, section 4.1 (BC and %BC).
    """

    tokens_per_step: ClassVar[int] = 2

    def embed(
        self, observations: Observations, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Returns the tokens of observation and action of each step."""
        tokens = (
            self.observation_embedding(observations),
            self.actions.embed(actions),
        )
        return torch.stack(tokens, dim=2) + self.at_time(timesteps)[:, :, None]
