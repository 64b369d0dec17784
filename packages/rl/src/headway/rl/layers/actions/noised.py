"""Continuous actions out of noise, whatever takes it off."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from headway.core.layout import Layout
from headway.rl.layers.actions.continuous import ScaledActions, Scaling
from headway.rl.layers.noising import DiffusionNoising, Noising
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Space


class NoisedActions(ScaledActions):
    """Learns to take noise off actions, one or a chunk of them; a subclass says by what.

    Args:
        dim: Channels of what was seen.
        space: A ``Box``, or how many numbers.
        noising: Builds what noise does: ``DiffusionNoising`` or ``FlowNoising``.
        scaling: By ``bounds`` or by ``statistics``.

    Shape:
        actions: (B, T, *shape). features: (..., dim).
    """

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        noising: Callable[[], Noising] = DiffusionNoising,
        scaling: Scaling = "bounds",
    ) -> None:
        super().__init__(dim, space, scaling=scaling)
        self.noising = noising()

    @abstractmethod
    def denoise(
        self, x: Tensor, step: Tensor, seen: Sequence[Tensor], layout: Layout | None = None
    ) -> Tensor:
        """Returns what is said of noisy actions.

        Args:
            x: Scaled and noisy, (B, N, action_dim).
            step: How noisy, (B,).
            seen: What was seen, (B, dim), for each block, or once.
            layout: Of the actions.

        Shape:
            Output: (B, N, action_dim).
        """

    def chunk_loss(self, seen: Sequence[Tensor], actions: Tensor, mask: Tensor) -> Tensor:
        """Returns the squared error of each action of chunks with random noise, (B, N).

        Args:
            seen: As of ``denoise``.
            actions: (B, N, *shape).
            mask: Which are real, (B, N); those before their end.
        """
        scaled = self.scaled(actions).masked_fill(~mask[..., None], 0.0)
        return self.noise_loss(seen, scaled, Layout(lengths=mask.sum(dim=1)))

    def noise_loss(
        self, seen: Sequence[Tensor], scaled: Tensor, layout: Layout | None = None
    ) -> Tensor:
        """Returns the squared error of each action of chunks with random noise, (B, N).

        Args:
            seen: As of ``denoise``.
            scaled: Actions as they are inside, (B, N, action_dim), none of them unknown.
            layout: Of the actions.
        """
        x, step, wanted = self.noising.example(scaled)
        return (self.denoise(x, step, seen, layout) - wanted).square().mean(dim=-1)

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
