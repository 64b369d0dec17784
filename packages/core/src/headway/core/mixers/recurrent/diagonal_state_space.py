"""S4D: a linear state space for each channel, whose matrix is diagonal."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cache import Cache, RecurrentCache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer
from headway.core.ops.tracing import at_least
from headway.core.systems import system


@system(
    id=None,
    name="S4D (diagonal state space)",
    paper="https://arxiv.org/abs/2206.11893",
    claim="a channel remembers by decaying oscillations; one long convolution equals token by token",
    test="packages/core/tests/parts/mixers/recurrent/test_diagonal_state_space.py",
)
class DiagonalStateSpace(TokenMixer):
    """Runs each channel through a linear system of its own, then mixes channels through a gate.

    Nothing of the system depends on the token, so all tokens at once are a convolution with its impulse
    response (by FFT), and the next token costs one step of the state. States are pairs of conjugate complex
    numbers; what is computed of them is real.

    Args:
        dim: Channels of a token.
        heads: Ignored.
        states: Complex states of each channel, half of each pair.
        step_range: Smallest and largest step at the start of training, in tokens.
        activation: Class of the activation between the systems and the gate.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If ``states`` is below 1 or the steps are not in order.

    Source:
        Gu et al. 2022, https://arxiv.org/abs/2206.11893, sections 3 and 4 (S4D-Lin, zero-order hold).
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "prefix", "causal"})
    causal = True

    def __init__(
        self,
        dim: int,
        heads: int = 1,
        *,
        states: int = 16,
        step_range: tuple[float, float] = (0.001, 0.1),
        activation: type[nn.Module] = nn.GELU,
    ) -> None:
        super().__init__()
        if states < 1:
            raise UserError(f"states must be at least 1, got {states}")
        if not 0 < step_range[0] <= step_range[1]:
            raise UserError(f"step_range is {step_range}; give two positive steps in order")
        self.channels, self.states = dim, states
        low, high = math.log(step_range[0]), math.log(step_range[1])
        self.log_step = nn.Parameter(torch.rand(dim) * (high - low) + low)
        self.log_decay = nn.Parameter(torch.full((dim, states), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(float(states)).repeat(dim, 1))
        self.read = nn.Parameter(torch.randn(2, dim, states) * 0.5**0.5)
        self.skip = nn.Parameter(torch.ones(dim))
        self.activation = activation()
        self.projection = nn.Linear(dim, 2 * dim)

    def powers(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what is left of each state after some tokens.

        Shape:
            steps: (N,). Output: real and imaginary part, (dim, states, N).
        """
        step = self.log_step.exp()[:, None, None]
        decay = (-(self.log_decay.exp()[..., None] * step) * steps).exp()
        angle = self.frequency[..., None] * step * steps
        return decay * angle.cos(), decay * angle.sin()

    def entry(self) -> tuple[Tensor, Tensor]:
        """Returns how a token enters each state, (dim, states): the input is held between two tokens."""
        left_re, left_im = self.powers(self.log_step.new_ones(1))
        above_re, above_im = left_re[..., 0] - 1, left_im[..., 0]
        # (exp(A step) - 1) / A, multiplied out: complex numbers are not for every compiler.
        real, imaginary = -self.log_decay.exp(), self.frequency
        size = real.square() + imaginary.square()
        return (
            (above_re * real + above_im * imaginary) / size,
            (above_im * real - above_re * imaginary) / size,
        )

    def response(self, tokens: int) -> Tensor:
        """Returns what a channel answers 0 to ``tokens - 1`` tokens after an impulse, (dim, tokens)."""
        steps = torch.arange(tokens, device=self.skip.device, dtype=self.log_step.dtype)
        left, (enter_re, enter_im) = self.powers(steps), self.entry()
        weight_re = self.read[0] * enter_re - self.read[1] * enter_im
        weight_im = self.read[0] * enter_im + self.read[1] * enter_re
        return 2 * (weight_re[..., None] * left[0] - weight_im[..., None] * left[1]).sum(dim=1)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        cache: Cache | None,
    ) -> Tensor:
        """Convolves, or takes steps."""
        if cache is not None and not isinstance(cache, RecurrentCache):
            raise UserError("DiagonalStateSpace runs step by step with the cache of init_cache()")
        real = layout.token_mask(x.shape[1])
        if real is not None:
            # By FFT everything meets everything, even what holds NaN.
            x = x.masked_fill(~real[..., None], 0.0)
        wide = torch.promote_types(x.dtype, torch.float32)
        signal = x.to(wide)
        held = self._convolved(signal) if cache is None else self._steps(signal, real, cache)
        out = (held + self.skip * signal).to(x.dtype)
        return F.glu(self.projection(self.activation(out)), dim=-1)

    def _convolved(self, signal: Tensor) -> Tensor:
        batch, tokens = signal.shape[:2]
        if not batch:
            # Transforms of nothing are refused by the libraries that make them.
            return signal
        # Twice the length: a convolution by FFT would wrap around.
        size = at_least(2 * tokens)
        zeros = (0, size - tokens)
        response = self.response(tokens).to(signal.dtype)
        spectrum = torch.fft.rfft(F.pad(signal.transpose(1, 2), zeros))
        spectrum = spectrum * torch.fft.rfft(F.pad(response, zeros))
        return torch.fft.irfft(spectrum, n=size)[..., :tokens].transpose(1, 2)

    def _steps(self, signal: Tensor, real: Tensor | None, cache: RecurrentCache) -> Tensor:
        left = self.powers(self.log_step.new_ones(1))
        left_re, left_im = (one[..., 0].to(cache.state) for one in left)
        enter_re, enter_im = (one.to(cache.state) for one in self.entry())
        state_re, state_im = cache.state.unbind(dim=1)
        held = []
        for token in range(signal.shape[1]):
            value = signal[:, token, :, None].to(cache.state)
            new_re = left_re * state_re - left_im * state_im + enter_re * value
            new_im = left_re * state_im + left_im * state_re + enter_im * value
            if real is not None:
                # What pads leaves the state as it was.
                here = real[:, token, None, None]
                new_re = torch.where(here, new_re, state_re)
                new_im = torch.where(here, new_im, state_im)
            state_re, state_im = new_re, new_im
            held.append(2 * (self.read[0] * state_re - self.read[1] * state_im).sum(dim=-1))
        tokens = torch.full_like(cache.lengths, signal.shape[1])
        cache.state = torch.stack([state_re, state_im], dim=1)
        cache.lengths = cache.lengths + (tokens if real is None else real.sum(dim=1))
        return torch.stack(held, dim=1).to(signal.dtype)

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> RecurrentCache:
        """Returns the states of no tokens; no size goes by ``max_length``."""
        weight = self.projection.weight
        dtype = torch.promote_types(dtype or weight.dtype, torch.float32)
        shape = (batch, 2, self.channels, self.states)
        return RecurrentCache(torch.zeros(shape, dtype=dtype, device=device or weight.device))
