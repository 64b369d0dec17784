"""Decision S4: a state space in the place of attention, one token a step."""

from functools import partial
from typing import ClassVar

from torch import Tensor

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.feedforward import MLP
from headway.core.mixers import DiagonalStateSpace
from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.layers.observations import Observations
from headway.rl.models.trajectory import (
    TrajectoryModel,
    TrajectoryModelOptions,
    TrajectorySizes,
    before,
)

# As wide as the tokens: the gate of the mixer already mixes channels.
NarrowMLP = partial(MLP, mlp_ratio=1.0)


class DecisionS4Options(TrajectoryModelOptions, total=False):
    """What a ``DecisionS4`` passes on, or takes itself."""

    streaming: bool


@system(
    id=97,
    name="Decision S4",
    paper="https://arxiv.org/abs/2306.05167",
    claim="one token a step through linear state spaces: what is learned as a convolution over whole "
    "episodes is played as a recurrence whose cost does not grow, with fewer parameters; that it does "
    "better than a decision transformer was not seen",
    test="packages/rl/tests/models/test_decision_s4.py",
)
class DecisionS4(TrajectoryModel):
    """Predicts actions from one token of each step: return to go, observation and the action before.

    Train it on whole episodes (``context_length`` of the data). In play the past is never cut: each step
    updates states of a fixed size.

    Args:
        streaming: Whether the past is never cut in play.
        mixer: Builds the causal token mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        **trajectory: As of every ``TrajectoryModel``.

    Note:
        The paper's state space is S4 (diagonal plus low rank); here it is S4D, its diagonal successor, and
        the parts of a step are summed where theirs are concatenated. This is the first of the two stages of
        the paper, learning from data; the second is ``OnlineDecisionS4``.

    Source:
        Bar-David et al. 2023, https://arxiv.org/abs/2306.05167, sections 4.1 and 4.2.
    """

    tokens_per_step: ClassVar[int] = 1
    reads_returns: ClassVar[bool] = True
    reads_actions: ClassVar[bool] = False

    def __init__(
        self,
        *,
        streaming: bool = True,
        mixer: MixerFactories = DiagonalStateSpace,
        feedforward: FeedForwardFactory = NarrowMLP,
        **trajectory: Passed[TrajectorySizes],
    ) -> None:
        super().__init__(streaming=streaming, mixer=mixer, feedforward=feedforward, **trajectory)

    def embed(
        self, observations: Observations, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Returns the token of each step, (B, T, 1, dim)."""
        assert self.return_embedding is not None
        taken = before(self.actions.embed(actions))
        # At the first step of an episode nothing was done before.
        taken = taken * (timesteps > 0)[..., None]
        token = (
            self.return_embedding((returns_to_go / self.return_scale)[..., None])
            + self.observation_embedding(observations)
            + taken
            + self.at_time(timesteps)
        )
        return token[:, :, None]
