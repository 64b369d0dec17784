"""Attention within windows of a picture, plain or shifted."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import attend, split_heads
from headway.core.ops.window_attention import Plan, join, plan_for, seen, split, window_attention
from headway.core.positions.relative import GridBias, RelativeBias
from headway.core.taps import wants

Pair = tuple[int, int]


class WindowAttention(TokenMixer):
    """Softmax attention within windows of the grid, with a learned bias for each relative position.

    A shift moves the windows, so that two of these in a row connect neighbouring windows: tokens that
    the shift brings together from opposite borders do not see each other. A grid that the windows do not
    divide is filled up with zeros on the right and at the bottom, which are seen as in the published
    models.

    Args:
        dim: Channels of a token.
        heads: Heads.
        window: Side of a window, or (height, width), in tokens.
        shift: By how many tokens the windows are moved, one number or (rows, columns); usually 0 or half
            a window, in turns.
        pad: Whether a grid is filled up ``before`` the shift (the authors' detection code, transformers,
            torchvision) or ``after`` it (timm). They agree where windows divide the grid.
        shrink: Whether along an axis on which one window covers the grid, the window shrinks to it and
            nothing is shifted (classifiers); the grid is filled up to the window otherwise (backbones of
            transformers and of the authors' detection code).
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, H * W, dim) on a grid (H, W). Output: the same.

    Raises:
        UserError: If a window has no token, or a shift is not smaller than its window.

    Source:
        Liu et al. 2021 (Swin), https://arxiv.org/abs/2103.14030, section 3.2 and eq. 4.
    """

    # Where windows begin goes by the size of the map.
    free_tokens: ClassVar[bool] = False
    # Sections of the projection without a bias of their own.
    unbiased: ClassVar[tuple[str, ...]] = ()
    # Factor of the scores; 1 / sqrt(head_dim) if None.
    scale: ClassVar[float | None] = None

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        window: int | Sequence[int] = 7,
        shift: int | Sequence[int] = 0,
        pad: Literal["before", "after"] = "before",
        shrink: bool = True,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads, self.dropout = heads, dropout
        self.window, self.shift = _pair("window", window), _pair("shift", shift)
        if min(self.window) < 1:
            raise UserError(f"window {self.window} needs at least one token on each side")
        for size, step in zip(self.window, self.shift, strict=True):
            if not 0 <= step < size:
                raise UserError(
                    f"shift {self.shift} must lie between 0 and the window {self.window} less one; "
                    "half a window is usual"
                )
        if pad not in ("before", "after"):
            raise UserError(f"pad is 'before' or 'after' the shift, got {pad!r}")
        self.pad, self.shrink = pad, shrink
        inner = heads * self.head_dim
        self.qkv = FusedLinear(
            dim, {"q": inner, "k": inner, "v": inner}, bias=qkv_bias, unbiased=self.unbiased
        )
        self.position = self.make_position()
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)
        self._indices: dict[tuple[Pair, torch.device], Tensor] = {}

    def mix(
        self,
        x: Tensor,
        layout: Layout,
    ) -> Tensor:
        """Attends within each window."""
        if layout.grid is None or len(layout.grid) != 2 or layout.positions is not None:
            raise UserError(
                "WindowAttention needs all tokens of a picture on their grid (H, W); "
                "these have none, or were merged or dropped before"
            )
        grid = layout.grid[0], layout.grid[1]
        window, shift = self.windows_on(grid)
        pad_first = self.pad == "before"
        plan = plan_for(grid, window, shift, pad_first, x.device, shrink=self.shrink)
        projected = self.project(x)
        # Positions without a token hold the projection of zeros.
        padding = self.project(x.new_zeros(1, 1, x.shape[2]))[0, 0] if plan.has_padding else None
        table = index = None
        if self.position is not None:
            table, index = self.position.rows().to(x.dtype), self._index(plan.window, x)
        dropped = self.training and self.dropout > 0.0
        watched = any(wants(self, name) for name in ("queries", "keys", "values", "weights"))
        # The op shrinks windows.
        covered = not self.shrink and (window[0] >= grid[0] or window[1] >= grid[1])
        if covered or dropped or watched or torch.compiler.is_exporting():
            out = self._apart(projected, plan, padding, table, index)
        else:
            out = window_attention(
                projected,
                heads=self.heads,
                grid=grid,
                window=window,
                shift=shift,
                pad_first=pad_first,
                padding=padding,
                table=table,
                index=index,
                scale=self.scale,
            )
        return self.out_dropout(self.projection(out))

    def make_position(self) -> GridBias | None:
        """Builds the biases of relative positions; None for a mixer without."""
        return RelativeBias(self.heads, self.head_dim, grid=self.window)

    def project(self, x: Tensor) -> Tensor:
        """Returns queries, keys and values side by side, (B, N, 3 * heads * head_dim)."""
        return self.qkv(x)

    def windows_on(self, grid: Pair) -> tuple[Pair, Pair]:
        """Returns window and shift on a grid; an axis that one window covers is left to ``plan_for``."""
        return self.window, self.shift

    def _apart(
        self,
        projected: Tensor,
        plan: Plan,
        padding: Tensor | None,
        table: Tensor | None,
        index: Tensor | None,
    ) -> Tensor:
        """The same with the windows cut out, for whoever asks what happens in them."""
        query, key, value = split_heads(
            self.head_dim, *split(projected, plan, padding).chunk(3, dim=-1)
        )
        options = {
            "table": table,
            "index": index,
            "mask": seen(plan, projected),
            "scale": self.scale,
        }
        out = attend(self, query, key, value, self.dropout, options)
        return join(out.transpose(1, 2).flatten(2), plan)

    def _index(self, window: Pair, x: Tensor) -> Tensor:
        """For each pair of positions of a window its row in the table of biases, (S, S)."""
        index = self._indices.get((window, x.device))
        if index is None:
            assert self.position is not None
            positions = Layout(grid=window).token_positions(window[0] * window[1], x.device)
            index = self.position.index(positions, positions)[0]
            # What a compiler traces are no real tensors; they must not outlive it.
            if not torch.compiler.is_compiling():
                self._indices[window, x.device] = index
        return index

    def __getstate__(self) -> dict[str, Any]:
        # Indices are a cache: neither copies nor worker processes need them.
        return {**self.__dict__, "_indices": {}}


def _pair(name: str, value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    if len(value) != 2:
        raise UserError(f"{name} is one number or (rows, columns), got {tuple(value)}")
    return value[0], value[1]
