"""Diffusion policies with transformers."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.passed import Passed
from headway.core.positions import SinusoidalPosition
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import DenoisingActions
from headway.rl.layers.noising import DiffusionNoising, Noising
from headway.rl.layers.observations import Observations
from headway.rl.layers.streams import Streams
from headway.rl.models.base import DecisionOptions
from headway.rl.models.chunk import ChunkModel


@system(
    id=465,
    name="DiT-Policy",
    paper="https://arxiv.org/abs/2410.10088",
    claim="chunks of actions out of noise by blocks that what was seen modulates: all ways of demonstrations "
    "are kept, where a squared error takes their mean",
    test="packages/rl/tests/models/test_diffusion_policy.py",
)
class DiffusionPolicy(ChunkModel):
    """An encoder of what was seen, and a transformer that takes noise off the next actions.

    The tokens of the last observations go through an encoder. The mean of the tokens behind its n-th block,
    with the step of the noise, chooses gain, bias and gate of the n-th block over the noisy actions
    (adaLN-Zero), which trains more steadily than attending to them.

    Args:
        dim: Channels of a token, even.
        depth: Blocks of the encoder, and as many over the actions.
        heads: Heads of the mixers.
        horizon: Actions of a chunk.
        taken: How many are carried out before the next chunk is asked for; all if None.
        history: Observations that are looked at, the present one included.
        noising: Builds what noise does: ``DiffusionNoising`` or ``FlowNoising``. Not read where ``actions``
            is given.
        mixer: Builds the mixers, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
        **decision: As of every ``DecisionModel``: spaces, observation_dim, action_dim, observations, actions
            (``DenoisingActions`` if None).

    Shape:
        observations: (B, history, *shape), or several such by name. Output: (B, horizon, *shape of an
            action).

    Note:
        The authors' code cannot be had here, so nothing was compared with it. Pictures have one token each.

    Source:
        Dasari et al. 2024, https://arxiv.org/abs/2410.10088; Chi et al. 2023 (Diffusion Policy),
        https://arxiv.org/abs/2303.04137.
    """

    def __init__(
        self,
        *,
        dim: int = 128,
        depth: int = 4,
        heads: int = 4,
        horizon: int = 16,
        taken: int | None = 8,
        history: int = 2,
        noising: Callable[[], Noising] = DiffusionNoising,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        **decision: Passed[DecisionOptions],
    ) -> None:
        parts = {"mixer": mixer, "feedforward": feedforward}
        if decision.get("actions") is None:
            decision["actions"] = partial(
                DenoisingActions, depth=depth, heads=heads, noising=noising, **parts
            )
        super().__init__(dim, horizon=horizon, taken=taken, history=history, **decision)
        self.place = SinusoidalPosition(dim)
        self.encoder = Encoder(dim, depth, heads, final_norm=False, **parts)
        init_transformer_(self.encoder)

    @property
    def head(self) -> DenoisingActions:
        """What takes noise off actions."""
        assert isinstance(self.actions, DenoisingActions)
        return self.actions

    def see(self, seen: Observations) -> list[Tensor]:
        """Returns what the blocks over the actions are told of observations, (B, dim) each."""
        tokens = self.observation_embedding.tokens(seen)
        # All parts of an observation have its place.
        places = self.place(Layout(), tokens.shape[1]).to(tokens)
        x = (tokens + places[:, :, None]).flatten(1, 2)
        found = []
        for block in self.encoder.blocks:
            x, _ = block(x)
            found.append(x.mean(dim=1))
        return found

    def forward(self, observations: Observations) -> Tensor:
        """Returns the chunk that lies in the middle of the noise."""
        return self.head.generate(self.see(observations), self.horizon, None)

    def plan(self, seen: Observations, streams: Streams) -> Tensor:
        """Returns a chunk out of noise."""
        return self.head.generate(self.see(seen), self.horizon, streams)

    def predict(self, batch: Batch) -> Tensor:
        """Returns the chunks in the middle of the noise that follow the first observations of a batch."""
        return self(self.chunk(batch).seen)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the mean error of what is said of real actions with random noise."""
        chunk = self.chunk(batch)
        losses = self.head.chunk_loss(self.see(chunk.seen), chunk.actions, chunk.mask)
        return {"loss": mean_of_steps(losses, chunk.mask)}
