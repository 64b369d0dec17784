"""Auto-Correlation of the Autoformer: whole stretches of a series that repeat, instead of single moments."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_factor, check_heads
from headway.core.systems import system
from headway.core.taps import tap

# Tokens up to which products of matrices are faster than Fourier transforms.
_SHORT = 1024


class _AutoCorrelation(TokenMixer):
    """What both forms share: the lags, and the average of the values that they point to."""

    factor: float
    batch_lags: bool

    def _aggregate(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Returns values rolled back by the lags at which queries and keys agree most, (B, N, C)."""
        tokens = query.shape[1]
        agreement = circular_correlation(query, key) / query.shape[2]
        tap(self, "correlation", agreement)
        ranked = agreement
        if self.training and self.batch_lags:
            ranked = agreement.mean(dim=0, keepdim=True)
        if isinstance(tokens, int):
            number = max(1, min(tokens, int(self.factor * math.log(tokens))))
            lags = ranked.topk(number, dim=-1).indices.expand(query.shape[0], -1)
            weights = agreement.gather(1, lags).softmax(dim=-1)
        else:
            # The free tokens of an exported graph: all lags in order, of which the first ones count.
            lags = ranked.argsort(dim=-1, descending=True).expand(query.shape[0], -1)
            count = torch.ones(tokens, dtype=torch.float64, device=query.device).sum()
            number = (self.factor * count.log()).long()
            late = torch.arange(tokens, device=query.device) >= number.clamp_min(1)
            weights = agreement.gather(1, lags).masked_fill(late, -math.inf).softmax(dim=-1)
        return roll_and_add(value, lags, weights)


@system(
    id=513,
    name="Autoformer (Auto-Correlation)",
    paper="https://arxiv.org/abs/2106.13008",
    claim="values are aligned by the few lags at which a series repeats itself, found by its autocorrelation",
    test="packages/core/tests/parts/mixers/spectral/test_auto_correlation.py",
)
class AutoCorrelation(_AutoCorrelation):
    """Averages the sequence with itself, rolled by the lags at which it repeats.

    The lags are those of all channels together, so heads do not matter. Published code takes the lags of
    the whole batch in training, and those of each item in evaluation.

    Args:
        dim: Channels of a token.
        heads: Only checked: the correlation is that of all channels.
        factor: ``factor * ln N`` lags count.
        batch_lags: Whether items of a batch share their lags in training.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If the heads do not divide ``dim``, or ``factor`` is not positive.

    Source:
        Wu et al. 2021, https://arxiv.org/abs/2106.13008, eq. 5 to 8.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        factor: int | float = 1,
        batch_lags: bool = True,
        qkv_bias: bool = True,
        out_bias: bool = True,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(dim, heads, None)
        self.factor, self.batch_lags = check_factor(factor), batch_lags
        self.qkv = FusedLinear(dim, {"q": dim, "k": dim, "v": dim}, bias=qkv_bias)
        self.projection = nn.Linear(dim, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
    ) -> Tensor:
        """Aligns and averages."""
        out = self._aggregate(*self.qkv(x).chunk(3, dim=-1))
        return self.out_dropout(self.projection(out))


class AutoCorrelationCross(_AutoCorrelation):
    """Auto-Correlation with another sequence, the ``context``, cut or filled up with zeros to equal length.

    Args:
        dim: Channels of a token, and of a context token.
        heads: Only checked.
        factor: As in ``AutoCorrelation``.
        batch_lags: As there.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). context: (B, M, dim). Output: (B, N, dim).

    Source:
        Wu et al. 2021, https://arxiv.org/abs/2106.13008, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        factor: int | float = 1,
        batch_lags: bool = True,
        qkv_bias: bool = True,
        out_bias: bool = True,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(dim, heads, None)
        self.factor, self.batch_lags = check_factor(factor), batch_lags
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        self.kv = FusedLinear(dim, {"k": dim, "v": dim}, bias=qkv_bias)
        self.projection = nn.Linear(dim, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
    ) -> Tensor:
        """Aligns the context and averages."""
        if context is None:
            raise UserError("AutoCorrelationCross needs context=, the sequence to align")
        if context_layout is not None and context_layout.padded:
            raise UserError("AutoCorrelationCross takes no padded context; align items one by one")
        both = self.kv(context)
        free = not isinstance(x.shape[1], int) or not isinstance(both.shape[1], int)
        # Which of the two is longer is not known of free numbers: enough zeros for either.
        missing = x.shape[1] if free else max(0, x.shape[1] - both.shape[1])
        both = F.pad(both, (0, 0, 0, missing))[:, : x.shape[1]]
        key, value = both.chunk(2, dim=-1)
        return self.out_dropout(self.projection(self._aggregate(self.q(x), key, value)))


def _wide(x: Tensor) -> Tensor:
    """In float32 at least: there are no transforms of narrower types."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def circular_correlation(query: Tensor, key: Tensor) -> Tensor:
    """Returns for each lag the inner product of the queries with the keys rolled by it.

    Entry ``r`` is the sum over ``t`` of ``query[t + r] . key[t]``, positions taken modulo N.

    Shape:
        query, key: (B, N, C). Output: (B, N).
    """
    tokens = query.shape[1]
    if not isinstance(tokens, int):
        # In a graph that leaves the number open, neither strides nor frequencies may be computed from it.
        products = key @ query.transpose(1, 2)
        positions = torch.arange(tokens, device=query.device)
        later = (positions[:, None] + positions) % tokens
        return products.gather(2, later.expand(products.shape[0], -1, -1)).sum(dim=1)
    if tokens <= _SHORT:
        products = key @ query.transpose(1, 2)
        # Row t of the products, written twice in a row, begins one position later than row t - 1: what
        # stands below each other is a wrapped diagonal.
        twice = torch.cat([products, products], dim=2)
        shape = (products.shape[0], tokens, tokens)
        return twice.as_strided(shape, (2 * tokens**2, 2 * tokens + 1, 1)).sum(dim=1)
    # One transform back: the sum over the channels can be taken before.
    spectrum = torch.fft.rfft(_wide(query), dim=1) * torch.fft.rfft(_wide(key), dim=1).conj()
    return torch.fft.irfft(spectrum.sum(dim=-1), n=tokens, dim=1).to(query.dtype)


def roll_and_add(value: Tensor, lags: Tensor, weights: Tensor) -> Tensor:
    """Returns the sum of the values rolled back by each lag, times its weight.

    Shape:
        value: (B, N, C). lags, weights: (B, K). Output: (B, N, C).
    """
    tokens = value.shape[1]
    kernel = value.new_zeros(value.shape[0], tokens).scatter_add(1, lags, weights.to(value.dtype))
    if not isinstance(tokens, int):
        positions = torch.arange(tokens, device=value.device)
        return kernel[:, (positions - positions[:, None]) % tokens] @ value
    if tokens <= _SHORT:
        # Row t of the matrix is the kernel, rolled on by t.
        rolled = torch.cat([kernel, kernel], dim=1)[:, 1:].unfold(1, tokens, 1).flip(1)
        return rolled @ value
    turned = torch.fft.rfft(_wide(kernel), dim=1).conj()[..., None]
    spectrum = torch.fft.rfft(_wide(value), dim=1) * turned
    return torch.fft.irfft(spectrum, n=tokens, dim=1).to(value.dtype)
