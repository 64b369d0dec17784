"""The decision transformer."""

from typing import ClassVar

import torch
from torch import Tensor

from headway.core.systems import system
from headway.rl.layers.observations import Observations
from headway.rl.models.trajectory import TrajectoryModel


@system(
    id=None,
    name="Decision Transformer",
    paper="https://arxiv.org/abs/2106.01345",
    claim="the return asked for steers what the policy does; equal to transformers' with copied weights",
    test="packages/rl/tests/models/test_decision_transformer.py",
)
class DecisionTransformer(TrajectoryModel):
    """Predicts actions from the return that is still to come, observations and past actions.

    See ``TrajectoryModel`` for the arguments.

    Source:
        Chen et al. 2021, https://arxiv.org/abs/2106.01345, algorithm 1.
    """

    tokens_per_step: ClassVar[int] = 3
    reads_returns: ClassVar[bool] = True

    def embed(
        self, observations: Observations, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Returns the tokens of return, observation and action of each step."""
        assert self.return_embedding is not None
        tokens = (
            self.return_embedding((returns_to_go / self.return_scale)[..., None]),
            self.observation_embedding(observations),
            self.actions.embed(actions),
        )
        return torch.stack(tokens, dim=2) + self.at_time(timesteps)[:, :, None]
