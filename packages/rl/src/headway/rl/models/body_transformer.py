"""The body transformer."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypedDict

from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.mixers import GraphAttention, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.passed import Passed
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.bodies import Body
from headway.rl.layers.actions import BodyActions
from headway.rl.layers.observations import BodyObservations, Observations
from headway.rl.layers.streams import Streams
from headway.rl.models.chunk import ChunkModel
from headway.rl.models.trajectory import hide

ReluMLP = partial(MLP, activation=nn.ReLU)


class BodySpaces(TypedDict, total=False):
    """What a ``BodyTransformer`` passes on: observations and actions are those of its body."""

    spaces: dict[str, Any] | None
    observation_dim: int | None
    action_dim: int | None


@system(
    id=193,
    name="BoT",
    paper="https://arxiv.org/abs/2408.06316",
    claim="attention along the joints of a body learns from fewer demonstrations than attention among "
    "all limbs does",
    test="packages/rl/tests/models/test_body_transformer.py",
)
class BodyTransformer(ChunkModel):
    """Imitates with a token for each limb, whose attention follows the joints of the body.

    A limb's sensors make its token, and its token moves its motors. In ``hard`` attention a block carries
    what is known by one joint; in ``mix`` blocks along the joints and blocks among all limbs take turns,
    beginning with the former; ``full`` is a plain transformer of limbs. Without a body all sensors and
    motors belong to one limb: what is left is an MLP with residual branches. It looks at the present
    observation alone.

    Args:
        body: A name of ``headway.rl.bodies.KNOWN_BODIES``, or limbs and joints, as ``Body.to_json`` writes
            them; one limb if None.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of attention.
        attention: ``hard``, ``mix`` or ``full``.
        error: ``squared`` or ``absolute``, of the actions.
        feedforward: Builds the feed-forwards, ``(dim)``; an MLP with ReLU.
        dropout: Probability of dropping a channel that leaves a mixer, in training.
        **spaces: As of every ``DecisionModel``: spaces, observation_dim, action_dim.

    Shape:
        observations: (B, T, numbers). Output: (B, T, numbers of an action).

    Note:
        Limbs without sensors have a learned token, in the authors' code one of zeros.

    Source:
        Sferrazza et al. 2024, https://arxiv.org/abs/2408.06316, section 4.
    """

    def __init__(
        self,
        *,
        body: dict[str, Any] | str | None = None,
        dim: int = 64,
        depth: int = 4,
        heads: int = 4,
        attention: Literal["hard", "mix", "full"] = "mix",
        error: Literal["squared", "absolute"] = "squared",
        feedforward: FeedForwardFactory = ReluMLP,
        dropout: float = 0.0,
        **spaces: Passed[BodySpaces],
    ) -> None:
        if attention not in ("hard", "mix", "full"):
            raise UserError(f"attention is {attention!r}; it is hard, mix or full")
        known = None if body is None else Body.from_json(body)
        given: Mapping[str, Any] = spaces
        told = {"observation": given.get("observation_dim"), "action": given.get("action_dim")}
        sizes: dict[str, Any] = dict(given)
        if known is not None and given.get("spaces") is None:
            # A body says how large its spaces are at least; the data will tell the rest.
            sizes["observation_dim"] = told["observation"] or known.sensors
            sizes["action_dim"] = told["action"] or known.motors
        super().__init__(
            dim,
            horizon=1,
            observations=partial(BodyObservations, body=known),
            actions=partial(BodyActions, body=known, error=error),
            **sizes,
        )
        self.init_args["body"] = None if known is None else known.to_json()
        self.inferred = {
            part: given.get("spaces") is None and size is None for part, size in told.items()
        }
        everywhere: MixerFactory = partial(SelfAttention, out_dropout=dropout)
        along: MixerFactory = everywhere
        if known is not None:
            graph = {"nodes": len(known.limbs), "edges": known.edges}
            along = partial(GraphAttention, **graph, out_dropout=dropout)
        turns = {"hard": [along], "mix": [along, everywhere], "full": [everywhere]}
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=turns[attention],
            feedforward=feedforward,
            norm=partial(LayerNorm, eps=1e-5),
            block=PostNormBlock,
            final_norm=False,
        )
        init_transformer_(self.encoder)

    def limbs(self, observations: Observations) -> Tensor:
        """Returns what each limb knows, (B, T, limbs, dim)."""
        tokens = self.observation_embedding.tokens(observations)
        x, _ = self.encoder(tokens.flatten(0, 1))
        return x.unflatten(0, tokens.shape[:2])

    def features(self, batch: Batch) -> Tensor:
        """Returns what each limb knows before each action of a batch, (B, T, limbs, dim)."""
        # Padding may hold anything.
        return self.limbs(hide(batch["observations"], ~batch["mask"]))

    def forward(self, observations: Observations) -> Tensor:
        """Returns the action of each observation."""
        return self.actions.predict(self.limbs(observations))

    def plan(self, seen: Observations, streams: Streams) -> Tensor:
        """Returns the next action; nothing is drawn."""
        return self(seen)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the mean error of the actions of the real steps."""
        losses = self.actions.loss(self.features(batch), batch)
        return {"loss": mean_of_steps(losses, batch["mask"])}
