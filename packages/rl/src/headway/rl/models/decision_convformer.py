"""The Decision ConvFormer: short filters in the place of attention."""

from functools import partial

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.feedforward import MLP
from headway.core.mixers import InterleavedConvolution
from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.models.decision_transformer import DecisionTransformer
from headway.rl.models.trajectory import TrajectorySizes

ModalityFilters = partial(InterleavedConvolution, kinds=3, window=6)


@system(
    id=515,
    name="Decision ConvFormer",
    paper="https://arxiv.org/abs/2310.03022",
    claim="where the next action depends on what is near, filters of six tokens learn it with fewer weights "
    "and updates than attention does; filters go by the kind of token",
    test="packages/rl/tests/models/test_decision_convformer.py",
)
class DecisionConvFormer(DecisionTransformer):
    """A decision transformer whose tokens meet through causal filters over the last six tokens.

    Returns, observations and actions have filters of their own. With ``streaming`` a step in play costs its
    three tokens alone, however long the episode.

    Args:
        streaming: Whether the past is never cut in play.
        mixer: Builds the causal token mixer, ``(dim, heads)``: filters of six tokens for each of three kinds.
        feedforward: Builds the feed-forward, ``(dim)``.
        **trajectory: As of every ``TrajectoryModel``.

    Note:
        The published code has no mask: what it pads with runs through the filters into the first actions of
        an episode, and differs between training and play. Here padding is zero for every filter, as if
        nothing were there. ``remove_act_embs`` of that code is not built.

    Source:
        Kim et al. 2023, https://arxiv.org/abs/2310.03022, section 4; defaults as in
        https://github.com/beanie00/Decision-ConvFormer (MIT).
    """

    def __init__(
        self,
        *,
        streaming: bool = False,
        mixer: MixerFactories = ModalityFilters,
        feedforward: FeedForwardFactory = MLP,
        **trajectory: Passed[TrajectorySizes],
    ) -> None:
        super().__init__(streaming=streaming, mixer=mixer, feedforward=feedforward, **trajectory)
