"""A world model over the words of pictures."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from headway.core.cache import CacheGroup
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.module import Module
from headway.core.stacks import Decoder


class Outcome(NamedTuple):
    """What follows an action.

    Args:
        rewards: (B, ...).
        ends: Logits of the end of the episode, (B, ...).
    """

    rewards: Tensor
    ends: Tensor


class TokenDynamics(Module):
    """A causal decoder over the tokens of pictures and actions, which says the next words, rewards and ends.

    Args:
        dim: Channels of a token.
        depth: Blocks.
        heads: Heads of attention.
        words: Size of the vocabulary.
        tokens: Words of a picture.
        steps: Steps of the longest stretch.

    Shape:
        pictures: (B, T, tokens, dim), embedded words. actions: (B, T, dim), embedded.
    """

    def __init__(
        self, dim: int, *, depth: int, heads: int, words: int, tokens: int, steps: int
    ) -> None:
        super().__init__()
        self.tokens, self.steps = tokens, steps
        self.slots = nn.Parameter(0.02 * torch.randn(tokens + 1, dim))
        self.times = nn.Parameter(0.02 * torch.randn(steps, dim))
        self.decoder = Decoder(dim, depth, heads)
        self.next_words = nn.Linear(dim, words)
        self.reward = nn.Linear(dim, 1)
        self.end = nn.Linear(dim, 1)
        init_transformer_(self)

    def forward(self, pictures: Tensor, actions: Tensor, lengths: Tensor) -> tuple[Tensor, Outcome]:
        """Returns logits of the words of each following picture, and the outcome of each step.

        The logits are (B, T - 1, tokens, words), the outcomes (B, T).

        Those of the last picture are not asked for: they belong to what follows the last action.
        """
        x = torch.cat([pictures, actions[:, :, None]], dim=2) + self.slots
        x = x + self.times[: x.shape[1], None]
        layout = Layout(lengths=lengths * (self.tokens + 1))
        x = self.decoder(x.flatten(1, 2), layout)[0].unflatten(1, (-1, self.tokens + 1))
        # The action knows the first word of the next picture, each word the one behind it.
        first, others = x[:, :-1, -1:], x[:, 1:, : self.tokens - 1]
        logits = self.next_words(torch.cat([first, others], dim=2))
        return logits, self._outcome(x[:, :, -1])

    def init_cache(self, batch: int) -> CacheGroup:
        """Returns an empty cache for the longest stretch."""
        return self.decoder.init_cache(batch, self.steps * (self.tokens + 1))

    def read(self, cache: CacheGroup, tokens: Tensor, *, time: int, slot: int) -> Tensor:
        """Returns what is known behind new tokens (B, N, dim) of one step, from ``slot`` on, (B, N, dim)."""
        x = tokens + self.slots[slot : slot + tokens.shape[1]] + self.times[time]
        return self.decoder(x, cache=cache)[0]

    def _outcome(self, features: Tensor) -> Outcome:
        return Outcome(self.reward(features)[..., 0], self.end(features)[..., 0])

    def outcome(self, features: Tensor) -> Outcome:
        """Returns what follows an action, of what is known behind it (B, dim)."""
        return self._outcome(features)
