"""A causal convolution with a filter of its own for each kind of token."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cache import Cache, RecurrentCache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer
from headway.core.mixers.convolutional.local import join_past


class InterleavedConvolution(TokenMixer):
    """Filters each channel over the last tokens; kinds of tokens that take turns have different filters.

    Tokens come in a fixed order of kinds (return, observation, action, return, ...). A filter sees all kinds,
    and its weights go by the kind of the token that it is computed for. Nothing else is learned: no
    projections. Padding counts as zero and has no kind, in front of a sequence or behind it.

    Args:
        dim: Channels of a token.
        heads: Ignored.
        kinds: Kinds of tokens that take turns; 1 for one filter for all.
        window: Tokens that a filter sees, the newest included.
        bias: Whether filters have a bias.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If a size is not positive.

    Source:
        Kim et al. 2023 (Decision ConvFormer), https://arxiv.org/abs/2310.03022, section 4.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "causal"})
    causal = True

    def __init__(
        self, dim: int, heads: int = 1, *, kinds: int = 3, window: int = 6, bias: bool = True
    ) -> None:
        super().__init__()
        for name, size in (("kinds", kinds), ("window", window)):
            if size < 1:
                raise UserError(f"{name} must be at least 1, got {size}")
        self.kinds, self.window = kinds, window
        # Output channels of a channel of a token lie side by side: one for each kind.
        self.convolution = nn.Conv1d(dim, dim * kinds, window, groups=dim, bias=bias)

    def mix(self, x: Tensor, layout: Layout, *, cache: Cache | None) -> Tensor:
        """Filters."""
        if cache is not None and not isinstance(cache, RecurrentCache):
            raise UserError(
                "InterleavedConvolution runs step by step with the cache of init_cache()"
            )
        if cache is not None and layout.valid is not None:
            raise UserError("with a cache, padding is on the right: Layout.lengths, not valid")
        if layout.valid is not None:
            positions = layout.valid.cumsum(dim=1) - 1
        else:
            positions = torch.arange(x.shape[1], device=x.device)[None]
        before = 0
        if cache is not None:
            before = cache.lengths[:, None]
            longer = join_past(x.transpose(1, 2), layout, cache)
        else:
            longer = F.pad(x.transpose(1, 2), (self.window - 1, 0))
        kind = ((positions + before) % self.kinds)[:, None, None]
        of_kinds = self.convolution(longer).unflatten(1, (-1, self.kinds))
        kind = kind.expand(x.shape[0], of_kinds.shape[1], 1, -1)
        return of_kinds.gather(2, kind)[:, :, 0].transpose(1, 2)

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> RecurrentCache:
        """Returns a cache that remembers the last tokens of the window."""
        weight = self.convolution.weight
        shape = (batch, self.convolution.in_channels, self.window - 1)
        return RecurrentCache(
            torch.zeros(shape, dtype=dtype or weight.dtype, device=device or weight.device)
        )
