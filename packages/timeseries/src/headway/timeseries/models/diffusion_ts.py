"""Diffusion-TS: series out of noise, as trend and season."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.answers import answer
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.dropout import Dropout
from headway.core.embeddings import step_embedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.generation.diffusion import (
    CosineDiffusion,
    GaussianDiffusion,
    Reconstruction,
    sample,
)
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.module import Module
from headway.core.systems import system
from headway.timeseries.layers.denoising import DecomposingBlock, DenoisingBlock

Process = partial(CosineDiffusion, steps=500)


@answer
class Decomposition(NamedTuple):
    """A series as the sum of three; (B, length, features) each.

    Args:
        trend: Level and polynomial.
        season: Its strongest waves.
        rest: What is neither.
    """

    trend: Tensor
    season: Tensor
    rest: Tensor


@system(
    id=440,
    name="Diffusion-TS",
    paper="https://arxiv.org/abs/2403.01742",
    claim="a diffusion that predicts the series itself, as polynomial trend, strongest waves and rest; the "
    "same weights generate, impute and forecast",
    test="packages/timeseries/tests/models/test_diffusion_ts.py",
)
class DiffusionTS(Module):
    """An encoder-decoder that says what a noisy window was, and what makes windows of it.

    Windows are scaled to -1 to 1.

    Args:
        features: Series.
        length: Steps of a window.
        dim: Channels of a token, even.
        depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder.
        heads: Heads of the mixers.
        mixer: Builds the mixers, ``(dim, heads)``.
        cross: Builds the mixer of the decoder that reads the encoder, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
        process: Builds the diffusion process.
        window: Steps that the convolution sees that reads the season, odd.
        dropout: Probability of dropping a channel of an embedded token in training.
        fourier: Weight of the errors of the Fourier coefficients in the loss; ``sqrt(length) / 5`` if None.

    Shape:
        x: (B, length, features). step: (B,), whole numbers.

    Raises:
        UserError: If ``dim`` is odd, a window shorter than 4 steps, or ``window`` even.

    Source:
        Yuan and Qiao 2024, https://arxiv.org/abs/2403.01742.
    """

    def __init__(
        self,
        *,
        features: int,
        length: int = 24,
        dim: int = 64,
        depth: int = 1,
        decoder_depth: int = 2,
        heads: int = 4,
        mixer: MixerFactory = SelfAttention,
        cross: MixerFactory = CrossAttention,
        feedforward: FeedForwardFactory = MLP,
        process: Callable[[], GaussianDiffusion] = Process,
        window: int = 1,
        dropout: float = 0.0,
        fourier: float | None = None,
    ) -> None:
        super().__init__()
        if dim % 2:
            raise UserError(f"dim {dim} must be even: half of it are sines of the step")
        if length < 4:
            raise UserError(f"length {length} is too short for a season; use at least 4 steps")
        if window < 1 or window % 2 == 0:
            raise UserError(f"window is {window}; a centred convolution needs an odd number")
        self.features, self.length, self.dim = features, length, dim
        self.fourier = length**0.5 / 5 if fourier is None else fourier
        self.process = process()
        self.embedding = nn.Conv1d(features, dim, 3, padding=1)
        self.dropout = Dropout(dropout)
        places = [torch.empty(length, dim).uniform_(-0.02, 0.02) for _ in range(2)]
        self.encoder_position, self.decoder_position = map(nn.Parameter, places)
        self.encoder = nn.ModuleList(
            DenoisingBlock(dim, heads, mixer=mixer, feedforward=feedforward) for _ in range(depth)
        )
        parts = {"mixer": mixer, "cross": cross, "feedforward": feedforward}
        self.decoder = nn.ModuleList(
            DecomposingBlock(length, dim, heads, features, **parts) for _ in range(decoder_depth)
        )
        self.rest = nn.Conv1d(dim, features, 3, padding=1)
        self.season = nn.Conv1d(dim, features, window, bias=False)
        self.level = nn.Linear(decoder_depth, 1, bias=False)

    def decompose(self, x: Tensor, step: Tensor) -> Decomposition:
        """Returns trend, season and rest of what a noisy window was."""
        self.check(x)
        condition = step_embedding(step, self.dim).to(x.dtype)
        tokens = self.embedding(x.transpose(1, 2)).transpose(1, 2)
        tokens = self.dropout(tokens)
        memory = self.dropout(tokens + self.encoder_position)
        for block in self.encoder:
            memory = block(memory, condition)
        tokens = self.dropout(tokens + self.decoder_position)
        trend, season, levels = torch.zeros_like(x), torch.zeros_like(tokens), []
        for block in self.decoder:
            tokens, mean, own_trend, own_season = block(tokens, condition, memory)
            trend, season = trend + own_trend, season + own_season
            levels.append(mean)
        rest = self.dropout(self.rest(tokens.transpose(1, 2)).transpose(1, 2))
        mean = rest.mean(dim=1, keepdim=True)
        level = self.level(torch.cat(levels, dim=1).transpose(1, 2)).transpose(1, 2)
        reach = self.season.kernel_size[0] // 2
        waves = F.pad(season.transpose(1, 2), (reach, reach), mode="circular")
        season = self.season(waves).transpose(1, 2)
        return Decomposition(level + mean + trend, season, rest - mean)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Returns what a noisy window was."""
        parts = self.decompose(x, step)
        return parts.trend + parts.season + parts.rest

    def loss(self, start: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """Returns how wrong the model is about windows after a step, in time and in frequencies (eq. 9)."""
        found = self(self.process.add_noise(start, step, noise), step)
        error = (found - start).abs()
        waves = torch.fft.fft(found - start, dim=1, norm="forward")
        error = error + self.fourier * (waves.real.abs() + waves.imag.abs())
        return (error.mean(dim=(1, 2)) * self.process.loss_weight(step).to(error)).mean()

    @torch.no_grad()
    def generate(
        self,
        number: int,
        *,
        steps: int | None = None,
        eta: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns windows that the model makes up, (number, length, features).

        Args:
            number: Windows.
            steps: Steps of the sampler; all of the process if None.
            eta: How much fresh noise enters at each step; see ``sample``.
            generator: Of the noise.
        """
        shape = (number, self.length, self.features)
        parameter = self.rest.weight
        return sample(
            self,
            self.process,
            shape,
            steps=steps,
            eta=eta,
            generator=generator,
            dtype=parameter.dtype,
            device=parameter.device,
        )

    def fill(
        self,
        x: Tensor,
        mask: Tensor,
        *,
        steps: int | None = None,
        rate: float = 0.05,
        closeness: float = 0.01,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns windows with what is missing made up; what is known stays as it is.

        With the end of the windows missing this is a forecast; the model is trained for neither.

        Args:
            x: Windows; what stands where ``mask`` is False does not matter.
            mask: True where a value is known.
            steps: Steps of the sampler; all of the process if None.
            rate: See ``Reconstruction``.
            closeness: See ``Reconstruction``.
            generator: Of the noise.

        Shape:
            x, mask: (B, length, features). Output: the same.
        """
        self.check(x)
        return sample(
            self,
            self.process,
            x.shape,
            steps=steps,
            condition=Reconstruction(x, mask, rate=rate, closeness=closeness),
            generator=generator,
            dtype=x.dtype,
            device=x.device,
        )

    def check(self, x: Tensor) -> None:
        """Raises if ``x`` cannot be a batch of windows."""
        if x.shape[1:] != (self.length, self.features):
            raise UserError(
                f"this DiffusionTS knows windows (B, {self.length}, {self.features}), "
                f"got {tuple(x.shape)}"
            )
