"""The mixer of Mamba: a selective state space in the place of attention."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cache import Cache, RecurrentCache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer
from headway.core.ops import selective_scan
from headway.core.ops.tracing import settled
from headway.core.systems import system


@system(
    id=527,
    name="Mamba (selective state space)",
    paper="https://arxiv.org/abs/2312.00752",
    claim="steps, inputs and outputs chosen by the token; the same at once and from a state of fixed size",
    test="packages/core/tests/parts/mixers/recurrent/test_selective_scan.py",
)
class SelectiveScan(TokenMixer):
    """Expand, convolve over the last tokens, scan with a step chosen by the token, gate, project.

    A token sees itself and what came before. Padding may stand in front of a sequence or behind it.

    Args:
        dim: Channels of a token.
        heads: Ignored.
        expand: Channels of the scan for each of ``dim``.
        states: Size of the state of each channel.
        window: Tokens that the convolution sees, the newest included.
        rank: Width of the bottleneck of the steps; ``dim / 16``, rounded up, if None.
        step_range: Smallest and largest step at the start of training.
        bias: Whether the projections in and out learn a bias.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If a size is not positive or the steps are not in order.

    Source:
        Gu and Dao 2023, https://arxiv.org/abs/2312.00752, section 3.4 and figure 3.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix", "causal"})
    causal = True

    def __init__(
        self,
        dim: int,
        heads: int = 1,
        *,
        expand: int = 2,
        states: int = 16,
        window: int = 4,
        rank: int | None = None,
        step_range: tuple[float, float] = (0.001, 0.1),
        bias: bool = False,
    ) -> None:
        super().__init__()
        rank = math.ceil(dim / 16) if rank is None else rank
        sizes = {"expand": expand, "states": states, "window": window, "rank": rank}
        for name, size in sizes.items():
            if size < 1:
                raise UserError(f"{name} must be at least 1, got {size}")
        if not 0 < step_range[0] <= step_range[1]:
            raise UserError(f"step_range is {step_range}; give two positive steps in order")
        self.inner, self.states, self.window, self.rank = expand * dim, states, window, rank
        inner = self.inner
        self.expand = FusedLinear(dim, {"x": inner, "z": inner}, bias=bias)
        self.convolution = nn.Conv1d(inner, inner, window, groups=inner)
        self.select = FusedLinear(inner, {"delta": rank, "B": states, "C": states}, bias=False)
        self.step = nn.Linear(rank, inner)
        self.log_rates = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.projection = nn.Linear(inner, dim, bias=bias)
        self.step_range = step_range
        self.init_own_()

    def init_own_(self) -> None:
        """Begins with steps spread evenly over the logarithms of their range."""
        low, high = (math.log(step) for step in self.step_range)
        with torch.no_grad():
            steps = (torch.rand_like(self.step.bias) * (high - low) + low).exp()
            # What the softplus makes these steps of.
            self.step.bias.copy_(steps + (-torch.expm1(-steps)).log())
            nn.init.uniform_(self.step.weight, -(self.rank**-0.5), self.rank**-0.5)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        cache: Cache | None,
    ) -> Tensor:
        """Scans."""
        if cache is not None and not isinstance(cache, RecurrentCache):
            raise UserError("SelectiveScan runs step by step with the cache of init_cache()")
        if cache is not None and layout.valid is not None:
            raise UserError("with a cache, padding is on the right: Layout.lengths, not valid")
        tokens = x.shape[1]
        real = layout.token_mask(tokens)
        hidden = None if real is None else ~real[..., None]
        entered, gate = self.expand(x).chunk(2, dim=-1)
        if hidden is not None:
            entered = entered.masked_fill(hidden, 0.0)
        tail, state = self._remembered(entered, cache)
        longer = torch.cat([tail.to(entered.dtype), entered], dim=1)
        mixed = F.silu(settled(self.convolution(longer.transpose(1, 2)).transpose(1, 2)))
        delta, B, C = self.select(mixed).split([self.rank, self.states, self.states], dim=-1)
        delta = F.softplus(self.step(delta).to(state.dtype))
        if hidden is not None:
            # A step of length zero leaves the state as it was.
            delta = delta.masked_fill(hidden, 0.0)
        out, state = selective_scan(
            mixed, delta, -self.log_rates.exp(), B, C, self.skip, z=gate, state=state
        )
        if cache is not None:
            assert isinstance(cache, RecurrentCache)
            counts = torch.full_like(cache.lengths, tokens) if real is None else real.sum(dim=1)
            # The last tokens before the next one of each row, which may have fewer than others.
            positions = counts[:, None] + torch.arange(self.window - 1, device=x.device)
            tail = longer.gather(1, positions[..., None].expand(-1, -1, self.inner))
            cache.state = torch.cat([state, tail.transpose(1, 2).to(state.dtype)], dim=2)
            cache.lengths = cache.lengths + counts
        return self.projection(out)

    def _remembered(self, x: Tensor, cache: RecurrentCache | None) -> tuple[Tensor, Tensor]:
        """The tokens before the first, (B, window - 1, inner), and the states, (B, inner, states)."""
        if cache is not None:
            state, tail = cache.state.split([self.states, self.window - 1], dim=2)
            return tail.transpose(1, 2), state
        dtype = torch.promote_types(x.dtype, torch.float32)
        tail = x.new_zeros((x.shape[0], self.window - 1, self.inner))
        return tail, x.new_zeros((x.shape[0], self.inner, self.states), dtype=dtype)

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> RecurrentCache:
        """Returns the states of no tokens and zeros before the first; no size goes by ``max_length``."""
        weight = self.projection.weight
        dtype = torch.promote_types(dtype or weight.dtype, torch.float32)
        shape = (batch, self.inner, self.states + self.window - 1)
        return RecurrentCache(torch.zeros(shape, dtype=dtype, device=device or weight.device))
