"""The base of all token mixers: one signature, and a refusal by name of what a mixer lacks."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.module import Module

OPTIONS = frozenset(
    {
        "mask",
        "bias",
        "context",
        "cache",
        "lengths",
        "valid",
        "offsets",
        "prefix",
        "causal",
        "embedding",
        "sizes",
    }
)


class TokenMixer(Module):
    """Moves information between tokens and keeps their number.

    A subclass names what it ``supports`` (out of ``OPTIONS``) and implements ``mix``; whatever else it
    is given is refused by name, never ignored. What padding holds, even NaN, is set to zero before: neither
    results nor gradients of real tokens meet it.

    Attributes:
        supports: What of ``OPTIONS`` the mixer takes.
        causal: Whether a token sees only itself and what came before.
        free_tokens: Whether a graph that is exported can leave the number of tokens open.

    Shape:
        x: (B, N, C). context: (B, M, C'). bias, mask: broadcastable to (B, heads, N, M), a mask is
        boolean with True = may attend. Output: (B, N, C).
    """

    supports: ClassVar[frozenset[str]] = frozenset()
    causal: bool = False
    free_tokens: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        """Checks the names in ``supports``."""
        super().__init_subclass__()
        unknown = cls.supports - OPTIONS
        if unknown:
            raise TypeError(
                f"{cls.__name__}.supports names {sorted(unknown)}; known: {sorted(OPTIONS)}"
            )

    def forward(
        self,
        x: Tensor,
        layout: Layout | None = None,
        *,
        context: Tensor | None = None,
        context_layout: Layout | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Mixes the tokens; refuses by name what this mixer does not support."""
        layout = layout if layout is not None else Layout()
        added = context_layout.embedding if context_layout is not None else None
        # How many tokens a query stands for is nothing to a context.
        sizes = layout.sizes if "context" not in self.supports else None
        given = {
            "context": context,
            "bias": bias,
            "mask": mask,
            "cache": cache,
            "lengths": layout.lengths,
            "valid": layout.valid,
            "offsets": layout.offsets,
            "prefix": layout.prefix or None,
            "embedding": layout.embedding if layout.embedding is not None else added,
            "sizes": sizes,
        }
        lacking = [name for name, value in given.items() if value is not None]
        lacking = [name for name in lacking if name not in self.supports]
        if lacking:
            raise UserError(
                f"{type(self).__name__} does not support {', '.join(lacking)}; "
                f"it supports {', '.join(sorted(self.supports)) or 'nothing beyond plain tokens'}"
            )
        if not self.free_tokens and not isinstance(x.shape[1], int):
            raise UserError(
                f"{type(self).__name__} cannot be exported with a free number of tokens; export it with "
                "a fixed one (other axes may be free)"
            )
        x = without_padding(x, layout)
        if context is not None and context_layout is not None:
            context = without_padding(context, context_layout)
        return self.mix(
            x,
            layout,
            context=context,
            context_layout=context_layout,
            bias=bias,
            mask=mask,
            cache=cache,
        )

    @abstractmethod
    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
        bias: Tensor | None,
        mask: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        """Does the work of ``forward``, after the checks."""

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> Cache:
        """Returns an empty cache for step-by-step use.

        Raises:
            UserError: If this mixer has none.
        """
        raise UserError(
            f"{type(self).__name__} cannot run step by step: it does not support a cache"
        )


def without_padding(x: Tensor, layout: Layout) -> Tensor:
    """Returns the tokens with zeros where there are none."""
    if not layout.padded:
        return x
    real = layout.token_mask(x.shape[1])
    return x if real is None else x.masked_fill(~real[..., None], 0.0)


def check_heads(dim: int, heads: int, head_dim: int | None) -> int:
    """Returns the width of a head.

    Raises:
        UserError: If ``dim`` cannot be divided among the heads and no ``head_dim`` is given.
    """
    if heads < 1:
        raise UserError(f"heads must be at least 1, got {heads}")
    if head_dim is not None:
        return head_dim
    if dim % heads:
        near = [h for h in range(1, dim + 1) if dim % h == 0]
        best = min(near, key=lambda h: abs(h - heads))
        raise UserError(
            f"dim {dim} cannot be divided among {heads} heads; use {best} heads, or give head_dim"
        )
    return dim // heads
