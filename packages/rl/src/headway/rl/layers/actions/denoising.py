"""Continuous actions out of noise."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks import ConditionedBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.embeddings import step_embedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import AdaptiveLayerNorm
from headway.core.positions import SinusoidalPosition
from headway.rl.layers.actions.continuous import ScaledActions, Scaling
from headway.rl.layers.noising import DiffusionNoising, Noising
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Space


class DenoisingActions(ScaledActions):
    """Takes noise off actions, one or a chunk of them: a diffusion or a flow, whatever ``noising`` is.

    Each action is a token; blocks whose norms and gates are chosen by what was seen and by how noisy the
    actions are (adaLN-Zero) say what was noise. With the features of single steps it is a head of any
    decision model; of chunks, ``chunk_loss`` and ``generate`` are asked.

    Args:
        dim: Channels of a token, even.
        space: A ``Box``, or how many numbers.
        depth: Blocks.
        heads: Heads of the mixers.
        noising: Builds what noise does: ``DiffusionNoising`` or ``FlowNoising``.
        mixer: Builds the mixer of the actions of a chunk, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        scaling: By ``bounds`` or by ``statistics``.

    Shape:
        actions: (B, T, *shape). features: (..., dim).

    Raises:
        UserError: If there are no blocks, or ``dim`` is odd.

    Source:
        Dasari et al. 2024 (DiT policy), https://arxiv.org/abs/2410.10088, section 3; Peebles and Xie 2022,
        https://arxiv.org/abs/2212.09748.
    """

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        depth: int = 2,
        heads: int = 4,
        noising: Callable[[], Noising] = DiffusionNoising,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        scaling: Scaling = "bounds",
    ) -> None:
        super().__init__(dim, space, scaling=scaling)
        if depth < 1:
            raise UserError(f"depth is {depth}; at least 1 block is needed")
        self.noising = noising()
        self.place = SinusoidalPosition(dim)
        self.embedding = nn.Linear(self.action_dim, dim)
        self.step = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList(
            ConditionedBlock(dim, heads, mixer=mixer, feedforward=feedforward) for _ in range(depth)
        )
        self.norm = AdaptiveLayerNorm(dim)
        self.head = nn.Linear(dim, self.action_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.embedding(self.scaled(actions))

    def denoise(
        self, x: Tensor, step: Tensor, seen: Sequence[Tensor], layout: Layout | None = None
    ) -> Tensor:
        """Returns what is said of noisy actions.

        Args:
            x: Scaled and noisy, (B, N, action_dim).
            step: How noisy, (B,).
            seen: What was seen, (B, dim), for each block; the last stands for those that are missing.
            layout: Of the actions.

        Shape:
            Output: (B, N, action_dim).
        """
        tokens = self.embedding(x)
        tokens = tokens + self.place(Layout(), x.shape[1]).to(tokens)
        time = self.step(step_embedding(step, self.dim).to(tokens))
        for place, block in enumerate(self.blocks):
            tokens = block(tokens, time + seen[min(place, len(seen) - 1)], layout)
        return self.head(self.norm(tokens, time + seen[-1]))

    def chunk_loss(self, seen: Sequence[Tensor], actions: Tensor, mask: Tensor) -> Tensor:
        """Returns the squared error of each action of chunks with random noise, (B, N).

        Args:
            seen: As of ``denoise``.
            actions: (B, N, *shape).
            mask: Which are real, (B, N); those before their end.
        """
        scaled = self.scaled(actions).masked_fill(~mask[..., None], 0.0)
        x, step, wanted = self.noising.example(scaled)
        said = self.denoise(x, step, seen, Layout(lengths=mask.sum(dim=1)))
        return (said - wanted).square().mean(dim=-1)

    def generate(self, seen: Sequence[Tensor], number: int, streams: Streams | None) -> Tensor:
        """Returns chunks, (B, number, *shape).

        Args:
            seen: As of ``denoise``.
            number: Actions of a chunk.
            streams: Randomness of each row; from the middle of the noise if None.
        """
        shape = (number, self.action_dim)
        like = seen[0]

        def noise() -> Tensor:
            if streams is None:
                return like.new_zeros(like.shape[0], *shape)
            return streams.normal(*shape).to(like)

        found = self.noising.generate(lambda x, step: self.denoise(x, step, seen), noise)
        return self.unscaled(found)

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the squared error of each step with random noise, (B, T)."""
        number, steps = features.shape[:2]
        mask = batch.get("mask")
        mask = torch.ones_like(features[..., 0], dtype=torch.bool) if mask is None else mask
        hidden = ~mask.reshape(number, steps, *[1] * (batch["actions"].ndim - 2))
        actions = batch["actions"].masked_fill(hidden, 0.0).flatten(0, 1)[:, None]
        single = torch.ones_like(actions.flatten(2)[..., 0], dtype=torch.bool)
        losses = self.chunk_loss([features.flatten(0, 1)], actions, single)
        return losses.reshape(number, steps)

    def predict(self, features: Tensor) -> Tensor:
        """Returns the actions that lie in the middle of the noise."""
        flat = features.reshape(-1, self.dim)
        return self.generate([flat], 1, None)[:, 0].unflatten(0, features.shape[:-1])

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns actions out of noise."""
        return self.generate([features], 1, streams)[:, 0]
