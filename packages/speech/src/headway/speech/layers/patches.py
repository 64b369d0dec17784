"""Stretches of features: read into one vector, and written from one, noise taken off step by step."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.blocks.conditioned import ConditionedBlock
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.positions.sinusoidal import sinusoids
from headway.core.stacks import Encoder

# Times lie between 0 and 1; sinusoids tell whole numbers apart.
TIMES = 1000.0


class PatchReader(Module):
    """Makes one vector of a patch: what a learned token in front of its steps becomes.

    Args:
        bands: Features of a step.
        dim: Channels.
        mixer: Builds the token mixer, ``(dim, heads)``.
        depth: Blocks.
        heads: Heads of the mixers.
        feedforward: Builds the feed-forward, ``(dim)``.

    Shape:
        patches: (M, steps, bands). Output: (M, dim).

    Source:
        Jia et al. 2025 (DiTAR), https://arxiv.org/abs/2502.03930, section 3 (aggregation encoder).
    """

    def __init__(
        self,
        bands: int,
        dim: int,
        *,
        mixer: MixerFactories,
        depth: int = 2,
        heads: int = 4,
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__()
        self.stem = nn.Linear(bands, dim)
        self.front = nn.Parameter(torch.empty(1, 1, dim))
        truncated_normal_(self.front)
        self.encoder = Encoder(
            dim, depth, heads, mixer=mixer, feedforward=feedforward, block=PreNormBlock
        )
        init_transformer_(self.encoder)

    def forward(self, patches: Tensor) -> Tensor:
        """Reads."""
        front = self.front.expand(len(patches), -1, -1)
        return self.encoder(torch.cat((front, self.stem(patches)), dim=1))[0][:, 0]


class PatchWriter(Module):
    """Writes a patch from what a language model says of it and from the patches before.

    Args:
        bands: Features of a step.
        dim: Channels of what is said.
        size: Steps of a patch.
    """

    def __init__(self, bands: int, dim: int, size: int) -> None:
        super().__init__()
        self.bands, self.size = bands, size

    @abstractmethod
    def loss(self, told: Tensor, history: Tensor, patches: Tensor) -> Tensor:
        """Returns what training minimises.

        Args:
            told: What the language model says of each patch.
            history: The steps before each, zeros before the beginning.
            patches: The patches.

        Shape:
            told: (M, dim). history: (M, before, bands). patches: (M, size, bands).
        """

    @abstractmethod
    def draw(self, told: Tensor, history: Tensor, noise: Tensor) -> Tensor:
        """Returns patches, made of noise.

        Shape:
            told: (M, dim). history: (M, before, bands). noise, output: (M, size, bands).
        """


class LocalDiffusion(PatchWriter):
    """A diffusion transformer over one patch, behind what it was told and the steps before.

    All steps of the patch see each other, the history and what was told, which stands in front as a token of
    its own. It learns the velocity of a process that keeps the variance,
    ``x_t = cos(pi t / 2) x + sin(pi t / 2) e``.

    Now and then it is told nothing (``unknowing``), so that it can be asked to lean towards what it is told
    (``guidance``). A ``temperature`` is the time at which noise comes in when a patch is drawn: at 1 it
    begins with noise; at less it first says without any what the patch should be, and goes on from that with
    the noise of that time; at 0 there is none.

    Args:
        bands: Features of a step.
        dim: Channels of what is said, and of its own.
        size: Steps of a patch.
        mixer: Builds the token mixer, ``(dim, heads)``; it tells where a token is.
        depth: Blocks.
        heads: Heads of the mixers.
        feedforward: Builds the feed-forward, ``(dim)``.
        steps: Steps from noise to data.
        guidance: 0 is the model as it is, more exaggerates what it is told.
        temperature: From 0 to 1.
        unknowing: Probability of being told nothing in training.
        looks: How often each patch is learned in a step of training, each time with other noise.

    Raises:
        UserError: If a number is outside its range.

    Source:
        Jia et al. 2025 (DiTAR), https://arxiv.org/abs/2502.03930, section 3; velocities: Salimans and Ho
        2022, https://arxiv.org/abs/2202.00512. There is no public code: temperatures below 1 are our reading.
    """

    def __init__(
        self,
        bands: int,
        dim: int,
        size: int,
        *,
        mixer: MixerFactories,
        depth: int = 3,
        heads: int = 4,
        feedforward: FeedForwardFactory = MLP,
        steps: int = 10,
        guidance: float = 1.0,
        temperature: float = 1.0,
        unknowing: float = 0.1,
        looks: int = 4,
    ) -> None:
        super().__init__(bands, dim, size)
        if steps < 1 or looks < 1 or guidance < 0:
            raise UserError(
                f"steps is {steps}, looks {looks} and guidance {guidance}; they begin at 1, 1 and 0"
            )
        if not (0 <= temperature <= 1 and 0 <= unknowing <= 1):
            raise UserError(
                f"temperature is {temperature} and unknowing {unknowing}; both lie between 0 and 1"
            )
        self.steps, self.guidance, self.temperature = steps, guidance, temperature
        self.unknowing, self.looks = unknowing, looks
        self.stem = nn.Linear(bands, dim)
        self.before = nn.Linear(bands, dim)
        self.said = nn.Linear(dim, dim)
        self.time = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        one = mixer if callable(mixer) else mixer[0]
        self.blocks = nn.ModuleList(
            ConditionedBlock(dim, heads, mixer=one, feedforward=feedforward) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)
        self.head = nn.Linear(dim, bands)

    def forward(self, x: Tensor, time: Tensor, told: Tensor, history: Tensor) -> Tensor:
        """Returns the velocity of noisy patches.

        Shape:
            x: (M, size, bands). time: (M,). told: (M, dim). history: (M, before, bands). Output: as x.
        """
        width = told.shape[1]
        condition = self.time(sinusoids(TIMES * time[:, None], width).to(x))
        tokens = (self.said(told)[:, None], self.before(history), self.stem(x))
        found = torch.cat(tokens, dim=1)
        for block in self.blocks:
            found = block(found, condition)
        return self.head(self.norm(found[:, -self.size :]))

    def loss(self, told: Tensor, history: Tensor, patches: Tensor) -> Tensor:
        """Returns the error of the velocity, at times and with noise that are drawn."""
        told, history, patches = (
            value.repeat(self.looks, *[1] * (value.ndim - 1)) for value in (told, history, patches)
        )
        count = len(patches)
        unknown = torch.rand(count, 1, device=told.device) < self.unknowing
        time = torch.rand(count, device=told.device)
        noise = torch.randn_like(patches)
        signal, share = _shares(time[:, None, None])
        wanted = signal * noise - share * patches
        found = self(signal * patches + share * noise, time, told.masked_fill(unknown, 0), history)
        return (found - wanted).square().mean()

    @torch.no_grad()
    def draw(self, told: Tensor, history: Tensor, noise: Tensor) -> Tensor:
        """Returns patches."""
        start = self.temperature
        if start == 1:
            x = noise
        else:
            x = torch.zeros_like(noise)
            # Without noise, all that is said of it is the patch itself.
            x = -self._velocity(x, 1.0, told, history)
            if start == 0:
                return x
            signal, share = _shares(torch.tensor(start).to(noise))
            x = signal * x + share * noise
        for step in range(self.steps):
            now = start * (1 - step / self.steps)
            then = start * (1 - (step + 1) / self.steps)
            velocity = self._velocity(x, now, told, history)
            signal, share = _shares(torch.tensor(now).to(x))
            clean, left = signal * x - share * velocity, share * x + signal * velocity
            signal, share = _shares(torch.tensor(then).to(x))
            x = signal * clean + share * left
        return x

    def _velocity(self, x: Tensor, time: float, told: Tensor, history: Tensor) -> Tensor:
        times = torch.full((len(x),), time, dtype=x.dtype, device=x.device)
        velocity = self(x, times, told, history)
        if not self.guidance:
            return velocity
        untold = self(x, times, torch.zeros_like(told), history)
        return velocity + self.guidance * (velocity - untold)


def _shares(time: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the shares of data and noise at a time."""
    return torch.cos(0.5 * math.pi * time), torch.sin(0.5 * math.pi * time)


def cut_patches(features: Tensor, steps: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Returns the patches of each item, and how many there are; the last step fills up the last patch.

    Shape:
        features: (B, T, bands). steps: (B,). Output: (B, N, size, bands), (B,).
    """
    counts = torch.div(steps + size - 1, size, rounding_mode="floor")
    short = -features.shape[1] % size
    features = F.pad(features, (0, 0, 0, short))
    place = torch.arange(features.shape[1], device=features.device)
    place = torch.minimum(place, steps[:, None] - 1)
    features = features.gather(1, place[..., None].expand(-1, -1, features.shape[2]))
    return features.unflatten(1, (-1, size)), counts
