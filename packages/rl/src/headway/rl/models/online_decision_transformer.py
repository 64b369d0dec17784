"""The online decision transformer."""

from typing import ClassVar

from headway.core.systems import system
from headway.rl.layers.actions import ActionFactory, drawn_for
from headway.rl.models.decision_transformer import DecisionTransformer


@system(
    id=None,
    name="Online Decision Transformer",
    paper="https://arxiv.org/abs/2202.05607",
    claim="after learning from data, tries of its own, with the returns that they have brought, teach it "
    "more than the data did; its actions are drawn, with an entropy that is kept up",
    test="packages/rl/tests/models/test_online_decision_transformer.py",
)
class OnlineDecisionTransformer(DecisionTransformer):
    """A decision transformer whose actions are drawn, with an entropy that is kept up.

    ``headway.rl.tasks.Imitation`` trains it on data, ``headway.rl.tasks.Trying`` on data and then on its own
    tries. See ``TrajectoryModel`` for the arguments.

    Note:
        The authors leave out the embedding of time, optimise by LAMB, and keep 1,000 episodes of the data
        with the highest returns; here that is ``max_timestep``, AdamW and ``top_fraction`` of the data.

    Source:
        Zheng et al. 2022, https://arxiv.org/abs/2202.05607, sections 4 and 5; written from the paper.
    """

    plain_actions: ClassVar[ActionFactory] = staticmethod(drawn_for)
