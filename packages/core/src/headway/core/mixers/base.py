"""The base of all token mixers: one signature, and a refusal by name of what a mixer lacks."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.module import Module
from headway.core.positions import Position

# What a mixer says it reads by naming it among the arguments of ``mix``.
ARGUMENTS = ("context", "bias", "mask", "cache")
# What of a layout a mixer names in ``supports``.
ARRANGEMENTS = frozenset({"lengths", "valid", "offsets", "prefix", "causal", "embedding", "sizes"})


class TokenMixer(Module):
    """Moves information between tokens and keeps their number.

    A subclass implements ``mix(x, layout, *, ...)`` with those of ``context``, ``context_layout``, ``bias``,
    ``mask`` and ``cache`` that it reads, and names in ``supports`` what of a layout it understands (out of
    ``ARRANGEMENTS``). Whatever else it is given is refused by name, never ignored. What padding holds, even
    NaN, is set to zero before: neither results nor gradients of real tokens meet it.

    Attributes:
        supports: What the mixer takes: of a layout as declared, of ``ARGUMENTS`` by the signature of ``mix``.
        causal: Whether a token sees only itself and what came before.
        free_tokens: Whether a graph that is exported can leave the number of tokens open.

    Shape:
        x: (B, N, C). context: (B, M, C'). bias, mask: broadcastable to (B, heads, N, M), a mask is
        boolean with True = may attend. Output: (B, N, C).
    """

    supports: ClassVar[frozenset[str]] = frozenset()
    causal: bool = False
    free_tokens: ClassVar[bool] = True
    # What ``mix`` is called with.
    _read: ClassVar[tuple[str, ...]] = ()

    def _mix_is_missing(self, x: Tensor, layout: Layout, **options: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must implement mix(x, layout, *, ...)")

    # Subclasses have fewer keywords than others: like ``forward`` in PyTorch, a variable to type checkers.
    mix: Callable[..., Tensor] = _mix_is_missing

    def __init_subclass__(cls) -> None:
        """Checks the names in ``supports`` and adds what ``mix`` reads."""
        super().__init_subclass__()
        declared = cls.__dict__.get("supports", frozenset())
        if unknown := declared - ARRANGEMENTS:
            raise TypeError(
                f"{cls.__name__}.supports names {sorted(unknown)}; known: {sorted(ARRANGEMENTS)} "
                f"({', '.join(ARGUMENTS)} are read from the signature of mix)"
            )
        keywords = inspect.signature(cls.mix).parameters
        cls._read = tuple(name for name in (*ARGUMENTS, "context_layout") if name in keywords)
        cls.supports = (cls.supports & ARRANGEMENTS) | (set(ARGUMENTS) & set(cls._read))

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
        arguments = {"context": context, "bias": bias, "mask": mask, "cache": cache}
        given = {
            **arguments,
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
            arguments["context"] = without_padding(context, context_layout)
        options = {**arguments, "context_layout": context_layout}
        return self.mix(x, layout, **{name: options[name] for name in self._read})

    def last(
        self, x: Tensor, layout: Layout | None = None, *, cache: Cache | None = None
    ) -> Tensor:
        """Returns what it makes of the last token of each row, (B, 1, C).

        The same as ``last_tokens`` of the output, for whoever predicts what comes next and reads nothing
        else; a mixer that can leave the others out overrides it.
        """
        return last_tokens(self(x, layout, cache=cache), layout)

    @property
    def at_once(self) -> int | None:
        """Tokens that are given together where it runs step by step; None if it needs all tokens.

        One where a token sees only itself and what came before; the size of a chunk where tokens come in
        chunks. What a token sees beyond its chunk lies in the past, so this does not add up over layers.
        """
        return 1 if self.causal and "cache" in self.supports else None

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


def last_tokens(x: Tensor, layout: Layout | None) -> Tensor:
    """Returns the last real token of each row, (B, 1, C)."""
    if layout is None or layout.lengths is None:
        return x[:, -1:]
    rows = torch.arange(len(x), device=x.device)
    return x[rows, layout.lengths - 1][:, None]


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


def check_rotation(mixer: TokenMixer, position: Position | None) -> None:
    """Refuses positions that need scores or weights in a mixer that has none.

    Raises:
        UserError: If the position does more than turn queries and keys.
    """
    if position is not None and not position.only_rotates():
        raise UserError(
            f"{type(mixer).__name__} has no scores that {type(position).__name__} could add to; "
            "use a rotation (Rotary), or SelfAttention"
        )


def check_factor(factor: float) -> float:
    """Returns the factor.

    Raises:
        UserError: If it is not positive.
    """
    if factor <= 0:
        raise UserError(f"factor must be above 0 (5 in the paper), got {factor}")
    return factor
