"""The behavior transformer."""

from typing import ClassVar

from torch import Tensor

from headway.core.systems import system
from headway.rl.layers.actions import ActionFactory, BinsAndOffsets
from headway.rl.layers.observations import Observations
from headway.rl.models.trajectory import TrajectoryModel


@system(
    id=91,
    name="BeT",
    paper="https://arxiv.org/abs/2206.11251",
    claim="clusters with offsets keep all ways that demonstrations take, where a squared error "
    "takes their mean",
    test="packages/rl/tests/models/test_behavior_transformer.py",
)
class BehaviorTransformer(TrajectoryModel):
    """Predicts a distribution over clusters of actions from past observations alone.

    See ``TrajectoryModel`` for the arguments; ``actions`` is ``BinsAndOffsets`` if None. Neither past actions
    nor returns are looked at. Play it with actions that are drawn (``headway rollout --stochastic``): the
    likeliest cluster is always the same.

    Note:
        Places are the steps of the episode, as in the decision transformer; published code counts them from
        the beginning of the window, starts k-means at random points, and has no norm in front of the decoder
        (``token_norm: torch.nn.Identity``).

    Source:
        Shafiullah et al. 2022, https://arxiv.org/abs/2206.11251.
    """

    tokens_per_step: ClassVar[int] = 1
    reads_actions: ClassVar[bool] = False
    plain_actions: ClassVar[ActionFactory] = BinsAndOffsets

    def embed(
        self, observations: Observations, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Returns the token of the observation of each step."""
        return (self.observation_embedding(observations) + self.at_time(timesteps))[:, :, None]
