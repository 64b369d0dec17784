"""Attention within windows of a picture, plain or shifted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.scores import attend
from headway.core.positions.relative import RelativeBias

Pair = tuple[int, int]


class WindowAttention(TokenMixer):
    """Softmax attention within windows of the grid, with a learned bias for each relative place.

    A shift moves the windows, so that two of these in a row connect neighbouring windows: tokens that
    the shift brings together from opposite borders do not see each other. Along an axis on which one
    window covers the grid, the window shrinks to it and nothing is shifted. A grid that the windows do
    not divide is filled up with zeros on the right and at the bottom, which are seen as in the published
    models.

    Args:
        dim: Channels of a token.
        heads: Heads.
        window: Side of a window, or (height, width), in tokens.
        shift: By how many tokens the windows are moved, one number or (rows, columns); usually 0 or half
            a window, in turns.
        pad: Whether a grid is filled up ``before`` the shift (the authors' detection code, transformers,
            torchvision) or ``after`` it (timm). They agree where windows divide the grid.
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

    supports: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        window: int | Sequence[int] = 7,
        shift: int | Sequence[int] = 0,
        pad: Literal["before", "after"] = "before",
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
        self.pad = pad
        inner = heads * self.head_dim
        self.qkv = FusedLinear(dim, {"q": inner, "k": inner, "v": inner}, bias=qkv_bias)
        self.position = RelativeBias(heads, self.head_dim, grid=self.window)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = nn.Dropout(out_dropout)
        self._plans: dict[Any, _Plan] = {}

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
        """Attends within each window."""
        if layout.grid is None or len(layout.grid) != 2 or layout.positions is not None:
            raise UserError(
                "WindowAttention needs all tokens of a picture on their grid (H, W); "
                "these have none, or were merged or dropped before"
            )
        plan = self._plan((layout.grid[0], layout.grid[1]), x.device)
        windows = plan.split(x)
        parts = self.qkv(windows).chunk(3, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2) for part in parts
        )
        options: dict[str, Any] = {"table": self.position.table.to(x.dtype), "index": plan.index}
        if plan.seen is not None:
            # Every picture has the same windows; not len(x): that would fix the batch size of an export.
            seen = plan.seen.expand(x.shape[0], -1, -1, -1)
            options["mask"] = seen.flatten(0, 1)[:, None]
        out = attend(self, query, key, value, self.dropout, options)
        return self.out_dropout(plan.join(self.projection(out.transpose(1, 2).flatten(2))))

    def _plan(self, grid: Pair, device: torch.device) -> "_Plan":
        key = (grid, device)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._make_plan(grid, device)
            # What a compiler traces are no real tensors; they must not outlive it.
            if not torch.compiler.is_compiling():
                self._plans[key] = plan
        return plan

    def _make_plan(self, grid: Pair, device: torch.device) -> "_Plan":
        window = (min(self.window[0], grid[0]), min(self.window[1], grid[1]))
        shift = (
            self.shift[0] if grid[0] > self.window[0] else 0,
            self.shift[1] if grid[1] > self.window[1] else 0,
        )
        padded = (
            -(-grid[0] // window[0]) * window[0],
            -(-grid[1] // window[1]) * window[1],
        )
        places = Layout(grid=window).token_positions(window[0] * window[1], device)
        index = self.position.index(places, places)[0]
        seen = _same_region(padded, window, shift, device)[None] if any(shift) else None
        return _Plan(grid, padded, window, shift, self.pad == "before", index, seen)

    def __getstate__(self) -> dict[str, Any]:
        # Plans are a cache: neither copies nor worker processes need them.
        return {**self.__dict__, "_plans": {}}


@dataclass(frozen=True)
class _Plan:
    """How a grid is cut into windows.

    Args:
        grid: Rows and columns of tokens.
        padded: The same, filled up to whole windows.
        window: Height and width of a window.
        shift: Rows and columns by which the windows are moved.
        pad_first: Whether the grid is filled up before it is shifted.
        index: For each pair of tokens of a window its row in the table of biases, (S, S).
        seen: Which pairs of a window may meet, (1, windows, S, S); None if all may.
    """

    grid: Pair
    padded: Pair
    window: Pair
    shift: Pair
    pad_first: bool
    index: Tensor
    seen: Tensor | None

    def split(self, x: Tensor) -> Tensor:
        """Returns the windows of (B, H * W, C) as (B * windows, S, C)."""
        picture = x.unflatten(1, self.grid)
        if self.pad_first:
            picture = self._shifted(self._filled(picture), -1)
        else:
            picture = self._filled(self._shifted(picture, -1))
        rows, columns = self.window
        cells = picture.unflatten(2, (-1, columns)).unflatten(1, (-1, rows))
        return cells.transpose(2, 3).flatten(3, 4).flatten(0, 2)

    def join(self, windows: Tensor) -> Tensor:
        """Returns what ``split`` took apart."""
        (rows, columns), (height, width) = self.window, self.padded
        cells = windows.unflatten(1, self.window)
        cells = cells.unflatten(0, (-1, height // rows, width // columns))
        picture = cells.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if self.pad_first:
            picture = self._cut(self._shifted(picture, 1))
        else:
            picture = self._shifted(self._cut(picture), 1)
        return picture.flatten(1, 2)

    def _shifted(self, picture: Tensor, sign: int) -> Tensor:
        if not any(self.shift):
            return picture
        return picture.roll((sign * self.shift[0], sign * self.shift[1]), dims=(1, 2))

    def _filled(self, picture: Tensor) -> Tensor:
        if self.padded == self.grid:
            return picture
        bottom, right = self.padded[0] - self.grid[0], self.padded[1] - self.grid[1]
        return F.pad(picture, (0, 0, 0, right, 0, bottom))

    def _cut(self, picture: Tensor) -> Tensor:
        if self.padded == self.grid:
            return picture
        return picture[:, : self.grid[0], : self.grid[1]]


def _same_region(grid: Pair, window: Pair, shift: Pair, device: torch.device) -> Tensor:
    """Returns which pairs of a window lay in one piece before the shift, (windows, S, S)."""
    regions = []
    for size, side, step in zip(grid, window, shift, strict=True):
        places = torch.arange(size, device=device)
        # The last window of a shifted axis holds what was at the end, then what was at the beginning.
        regions.append((places >= size - side).long() + (places >= size - step).long())
    region = regions[0][:, None] * 3 + regions[1]
    cells = region.unflatten(1, (-1, window[1])).unflatten(0, (-1, window[0]))
    cells = cells.transpose(1, 2).flatten(2).flatten(0, 1)
    return cells[:, :, None] == cells[:, None]


def _pair(name: str, value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    if len(value) != 2:
        raise UserError(f"{name} is one number or (rows, columns), got {tuple(value)}")
    return value[0], value[1]
