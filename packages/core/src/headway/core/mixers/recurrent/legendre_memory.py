"""The Legendre Memory Unit: a sliding window kept as coefficients of polynomials."""

from collections.abc import Callable
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

# Of the number of tokens in a compiled graph: 16 million of them.
_MOST_DIGITS = 24


def legendre_transition(order: int, window: float) -> tuple[Tensor, Tensor]:
    """Returns the step of a Legendre memory over one token, float64.

    The continuous memory obeys ``window * m' = A m + B u``; between two tokens its input is held.

    Args:
        order: Polynomials.
        window: Tokens that the memory spans.

    Shape:
        Output: (order, order) and (order,).

    Source:
        Voelker et al. 2019, https://proceedings.neurips.cc/paper/2019/hash/952285b9b7e7a1be5aa7849f32ffff05,
        eq. 2 and appendix B.
    """
    degrees = torch.arange(order, device="cpu")
    row, column = torch.meshgrid(degrees, degrees, indexing="ij")
    signs = torch.where(row < column, -1.0, (-1.0) ** (row - column + 1))
    dynamics = (2 * row + 1).double() * signs.double() / window
    entry = (2 * row[:, :1] + 1).double() * (-1.0) ** row[:, :1].double() / window
    # The exponential of the joint system holds the integral of the input in its last column.
    joint = torch.zeros(order + 1, order + 1, dtype=torch.float64, device="cpu")
    joint[:order, :order], joint[:order, order:] = dynamics, entry
    joint = torch.linalg.matrix_exp(joint)
    return joint[:order, :order].clone(), joint[:order, order].clone()


def legendre_polynomials(order: int, positions: Tensor) -> Tensor:
    """Returns the polynomials that turn a memory back into its window.

    Args:
        order: Polynomials.
        positions: How far back, as a share of the window, 0 (now) to 1.

    Shape:
        positions: (N,). Output: (order, N): ``coefficients @ output`` is the past.
    """
    x = 2 * positions - 1
    rows = [torch.ones_like(x), x]
    for degree in range(1, order - 1):
        rows.append(((2 * degree + 1) * x * rows[-1] - degree * rows[-2]) / (degree + 1))
    return torch.stack(rows[:order])


@system(
    id=None,
    name="Legendre Memory Unit",
    paper="https://arxiv.org/abs/2102.11417",
    claim="the memory holds its window as Legendre coefficients; all tokens at once equal token by token",
    test="packages/core/tests/parts/mixers/recurrent/test_legendre_memory.py",
)
class LegendreMemory(TokenMixer):
    """Keeps the last ``window`` values of a few signals of the tokens, and reads them at each token.

    Nothing in the memory learns: a convolution with its impulse response (by FFT) gives it for all tokens
    at once, a product with a small matrix gives the next one. The other mixers' heads are its signals.

    Args:
        dim: Channels of a token.
        heads: Signals that are remembered.
        order: Polynomials of each signal; more keep finer detail.
        window: Tokens that the memory spans.
        activation: Class of the activation of what is read.
        write_activation: Class of the activation of what is written; ``torch.nn.Identity`` writes signals
            of both signs.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If a size is not positive.

    Source:
        Voelker et al. 2019 (the memory), and Chilkuri and Eliasmith 2021,
        https://arxiv.org/abs/2102.11417, eq. 18 to 26 (all tokens at once).
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "prefix", "causal"})
    causal = True

    def __init__(
        self,
        dim: int,
        heads: int = 1,
        *,
        order: int = 32,
        window: float = 128,
        activation: Callable[[], nn.Module] = nn.ReLU,
        write_activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        for name, value in (("heads", heads), ("order", order), ("window", window)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        self.signals, self.order, self.window = heads, order, window
        self.write = nn.Sequential(nn.Linear(dim, heads), write_activation())
        self.read = nn.Linear(heads * order + dim, dim)
        self.activation = activation()
        self.projection = nn.Linear(dim, dim)
        # No buffers: they would take the type of the weights, and powers of a narrow matrix drift.
        self.transition, self.entry = legendre_transition(order, window)

    def remember(self, signals: Tensor, state: Tensor | None = None) -> Tensor:
        """Returns the memory after each token.

        Args:
            signals: What is written.
            state: The memory before the first token; empty if None.

        Shape:
            signals: (B, N, signals). state: (B, signals, order). Output: (B, N, signals, order).
        """
        batch, tokens = signals.shape[:2]
        wide = torch.promote_types(signals.dtype, torch.float32)
        if not batch:
            # Transforms of nothing are refused by the libraries that make them.
            return signals.to(wide)[..., None].expand(*signals.shape, self.order)
        response = self._powers(self.entry[None], tokens, signals.device)[:, 0].to(wide)
        # Twice the length: a convolution by FFT would wrap around. Along the last axis, where the memory
        # format of the result is the same everywhere.
        size = at_least(2 * tokens)
        zeros = (0, size - tokens)
        spectrum = torch.fft.rfft(F.pad(signals.to(wide).transpose(1, 2), zeros))[:, :, None]
        spectrum = spectrum * torch.fft.rfft(F.pad(response.T, zeros))
        memory = torch.fft.irfft(spectrum, n=size)[..., :tokens].permute(0, 3, 1, 2)
        if state is not None:
            # Rows are what is left of each coefficient a token later.
            left = self._powers(self.transition.T, tokens, signals.device).to(wide)
            memory = memory + torch.einsum("nio,bsi->bnso", left, state.to(wide))
        return memory

    def _powers(self, rows: Tensor, tokens: int, device: torch.device) -> Tensor:
        """Returns the rows after 0 to ``tokens - 1`` steps of the memory, (tokens, rows, order), float64."""
        steps = torch.arange(tokens, device=device)[:, None, None]
        rows, factor = rows.to(device).expand(tokens, -1, -1), self.transition.to(device).T
        # By the binary digits of the number of steps. A graph holds for any number of tokens, so it has
        # as many digits as a number of tokens can have.
        digits = _MOST_DIGITS if torch.compiler.is_compiling() else max(tokens - 1, 1).bit_length()
        for digit in range(digits):
            rows = torch.where((steps >> digit) % 2 == 1, rows @ factor, rows)
            factor = factor @ factor
        return rows

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        cache: Cache | None,
    ) -> Tensor:
        """Writes, remembers and reads."""
        if cache is not None and not isinstance(cache, RecurrentCache):
            raise UserError("LegendreMemory runs step by step with the cache of init_cache()")
        signals = self.write(x)
        real = layout.token_mask(x.shape[1])
        if real is not None:
            # By FFT everything meets everything, even what holds NaN.
            signals = signals.masked_fill(~real[..., None], 0.0)
        memory = self.remember(signals, None if cache is None else cache.state)
        if cache is not None:
            counts = torch.full_like(cache.lengths, x.shape[1]) if real is None else real.sum(dim=1)
            longer = torch.cat([cache.state[:, None], memory.to(cache.state.dtype)], dim=1)
            cache.state = longer[torch.arange(x.shape[0], device=x.device), counts]
            cache.lengths = cache.lengths + counts
        seen = torch.cat([memory.flatten(2).to(x.dtype), x], dim=2)
        return self.projection(self.activation(self.read(seen)))

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> RecurrentCache:
        """Returns an empty memory; no size goes by ``max_length``."""
        weight = self.read.weight
        dtype = torch.promote_types(dtype or weight.dtype, torch.float32)
        shape = (batch, self.signals, self.order)
        return RecurrentCache(torch.zeros(shape, dtype=dtype, device=device or weight.device))
