"""Behavior transformers over a learned vocabulary of chunks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.norms import LayerNorm
from headway.core.passed import Passed
from headway.core.stacks import Decoder
from headway.core.stacks.decoder import CausalSelfAttention
from headway.core.systems import system
from headway.rl.batch import Batch
from headway.rl.layers.actions import CodesAndOffsets
from headway.rl.layers.observations import Observations
from headway.rl.layers.streams import Streams
from headway.rl.models.base import DecisionOptions
from headway.rl.models.chunk import ChunkModel
from headway.rl.spaces import Space


@system(
    id=None,
    name="VQ-BeT",
    paper="https://arxiv.org/abs/2403.03181",
    claim="chunks as words of a learned vocabulary, with offsets, keep all ways that demonstrations take, "
    "where a squared error takes their mean",
    test="packages/rl/tests/models/test_vq_bet.py",
)
class VQBeT(ChunkModel):
    """Predicts a distribution over words of chunks of actions, from the last observations.

    First an autoencoder makes a vocabulary of chunks (see ``CodesAndOffsets``, whose ``autoencoder_steps``
    say how long); then a causal decoder learns the words. After the parts of each observation stands a
    query, and the last observation is followed by ``ahead`` more: each asks for the chunk that begins at its
    step, so that the past and what comes later teach, too. In play the chunk of the present step is carried
    out.

    Args:
        dim: Channels of an observation's token and of what the words are read from.
        width: Channels of the decoder; ``dim`` if None.
        depth: Blocks.
        heads: Heads of the mixers.
        horizon: Actions of a chunk.
        taken: How many are carried out before the next chunk is asked for; all if None.
        history: Observations that are looked at, the present one included.
        ahead: Chunks that are asked for beside those of the history, in training: of the next steps.
        positions: Learned positions, of which the first ones are used; as many as there are tokens if None.
        mixer: Builds the causal mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        dropout: Probability of dropping a channel of a token in training.
        **decision: As of every ``DecisionModel``: spaces, observation_dim, action_dim, observations, actions
            (``CodesAndOffsets`` if None; it is told the horizon).

    Shape:
        observations: (B, history, *shape), or several such by name. Output: (B, horizon, *shape of an
        action).

    Raises:
        UserError: If ``actions`` says no words of chunks, or there are more tokens than positions.

    Note:
        Offsets are learned at the words of what was done, as those of the behavior transformer; the authors'
        code and lerobot's learn them at words that are drawn. A chunk beyond the end of an episode holds its
        last action. What is drawn follows from the seed of the episode; ``predict`` says the likeliest.

    Source:
        Lee et al. 2024, https://arxiv.org/abs/2403.03181.
    """

    def __init__(
        self,
        *,
        dim: int = 128,
        width: int | None = None,
        depth: int = 4,
        heads: int = 4,
        horizon: int = 5,
        taken: int | None = None,
        history: int = 5,
        ahead: int = 2,
        positions: int | None = None,
        mixer: MixerFactories = CausalSelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
        dropout: float = 0.1,
        **decision: Passed[DecisionOptions],
    ) -> None:
        actions: Any = decision.get("actions") or CodesAndOffsets
        decision["actions"] = partial(actions, horizon=horizon)
        super().__init__(dim, horizon=horizon, taken=taken, history=history, **decision)
        if ahead < 0:
            raise UserError(f"ahead is {ahead}; at least 0 is needed")
        self.ahead, self.positions = ahead, positions
        self.width = dim if width is None else width
        self.query = nn.Parameter(torch.randn(dim))
        self.entrance = nn.Linear(dim, self.width)
        self.dropout = Dropout(dropout)
        self.decoder = Decoder(
            self.width, depth, heads, mixer=mixer, feedforward=feedforward, norm=norm
        )
        self.exit = nn.Linear(self.width, dim, bias=False)
        init_transformer_(self.decoder)
        self._place()

    @property
    def head(self) -> CodesAndOffsets:
        """What knows the words."""
        if not isinstance(self.actions, CodesAndOffsets):
            raise UserError(
                f"VQBeT needs CodesAndOffsets as its actions, got {type(self.actions).__name__}"
            )
        return self.actions

    @property
    def stretch(self) -> int:
        """Steps of a stretch that it reads."""
        return super().stretch + self.ahead

    def _place(self) -> None:
        """Makes the positions of the tokens of the present space."""
        fixed = self.observation_embedding.fixed_positions()
        parts = self.observation_embedding.learned_positions + (0 if fixed is None else len(fixed))
        needed = self.history * (parts + 1) + self.ahead
        number = needed if self.positions is None else self.positions
        if number < needed:
            raise UserError(f"positions is {number}; there are {needed} tokens")
        self.places = nn.Parameter(0.02 * torch.randn(number, self.width).to(self.query))

    def _observe(self, space: Space) -> None:
        before = self.observation_embedding
        super()._observe(space)
        if self.observation_embedding is not before:
            self._place()

    def see(self, seen: Observations) -> Tensor:
        """Returns what is known of the chunk of each step of the history and ahead, (B, N, dim)."""
        tokens = self.observation_embedding.tokens(seen)
        query = self.query.to(tokens)
        asked = query.expand(*tokens.shape[:2], 1, -1)
        steps = torch.cat([tokens, asked], dim=2)
        later = query.expand(len(tokens), self.ahead, -1)
        x = self.entrance(torch.cat([steps.flatten(1, 2), later], dim=1))
        x, _ = self.decoder(self.dropout(x + self.places[: x.shape[1]]))
        x = self.exit(x)
        known = self.history * steps.shape[2]
        return torch.cat([x[:, steps.shape[2] - 1 : known : steps.shape[2]], x[:, known:]], dim=1)

    def forward(self, observations: Observations) -> Tensor:
        """Returns the chunks of the likeliest words."""
        return self.head.generate(self.see(observations)[:, self.history - 1])

    def plan(self, seen: Observations, streams: Streams) -> Tensor:
        """Returns chunks of words that are drawn."""
        return self.head.generate(self.see(seen)[:, self.history - 1], streams)

    def predict(self, batch: Batch) -> Tensor:
        """Returns the likeliest chunks that follow the first observations of a batch."""
        return self(self.chunk(batch).seen)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss of the present stage and its parts; of both stages in evaluation."""
        present = self.present(batch)
        device = present.device
        starts = present[:, None] + torch.arange(1 - self.history, 1 + self.ahead, device=device)
        steps = starts[..., None] + torch.arange(self.horizon, device=device)
        chunks, mask = self.done(batch, steps)
        # Before the beginning the first observation stands in: nobody acted then.
        real = mask[..., 0]
        if self.training and not bool(self.head.settled):
            features = self.query.new_zeros(*real.shape, 0)
        else:
            features = self.see(self.seen(batch, present))
        return self.head.chunk_losses(features[real], chunks[real], mask[real])
