"""Attention within windows of a map, from the packed projection of all its tokens."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention.dispatch import BackendError
from headway.core.ops.kernels import interpreted
from headway.core.ops.kernels.machine import reason_against as reason_against_device
from headway.core.ops.native import reason_against as reason_against_source
from headway.core.ops.tracing import readable
from headway.core.ops.window_attention import operator, reference
from headway.core.ops.window_attention.native.launch import SOURCE
from headway.core.ops.window_attention.plan import Plan, plan_for
from headway.core.ops.window_attention.reference import join, seen, split
from headway.core.ops.window_attention.request import Request

__all__ = ["Plan", "join", "plan_for", "seen", "split", "window_attention"]

BACKENDS = ("native", "triton", "reference")
_NATIVE_DTYPES = (torch.float32, torch.bfloat16)
_TRITON_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
# A window is one tile of scores, and a head one block of features.
_TRITON_POSITIONS = 64
_TRITON_WIDTH = 128
# Positions within an item are counted in int32.
_TRITON_NUMBERS = 2**31 - 1


def window_attention(
    projected: Tensor,
    *,
    heads: int,
    grid: Sequence[int],
    window: Sequence[int],
    shift: Sequence[int] = (0, 0),
    pad_first: bool = True,
    padding: Tensor | None = None,
    table: Tensor | None = None,
    index: Tensor | None = None,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Softmax attention within windows of a map of tokens.

    Windows may be shifted: what the shift brings together from opposite borders does not meet. Along an
    axis on which one window covers the map, the window shrinks to it and nothing is shifted. A map that
    the windows do not divide is filled up on the right and at the bottom. Kernels copy nothing:
    queries, keys and values are read where the projection left them. Second derivatives are defined.

    Args:
        projected: Queries, keys and values of all tokens side by side, as one projection gives them.
        heads: Heads.
        grid: Rows and columns of tokens.
        window: Height and width of a window.
        shift: Rows and columns by which the windows are moved.
        pad_first: Whether the map is filled up before it is shifted, or after.
        padding: Queries, keys and values of positions without a token; zeros if None.
        table: Learned biases by entry and head, read through `index`; differentiable.
        index: For each pair of positions of a window the number of their entry in `table`.
        scale: Factor of the scores; 1 / sqrt(D) if None.
        backend: "auto", "native" (C++ on the CPU), "triton" (windows of at most 64 positions, heads of at
            most 128 features) or "reference" (windows cut out and put back).

    Returns:
        The weighted values at the positions of their tokens.

    Shape:
        projected (B, H * W, 3 * heads * D); padding (3 * heads * D,); table (entries, heads);
        index (S, S) with S the positions of a window; result (B, H * W, heads * D).

    Raises:
        UserError: An argument has the wrong shape or value.
        BackendError: The named backend cannot take the call.

    Source:
        Liu et al. 2021 (Swin), https://arxiv.org/abs/2103.14030, section 3.2 and eq. 4.
    """
    _check(projected, heads, grid, window, shift)
    plan = plan_for(
        (grid[0], grid[1]),
        (window[0], window[1]),
        (shift[0], shift[1]),
        pad_first,
        projected.device,
    )
    bias = _bias(table, index, plan, heads)
    if padding is not None and not padding.shape == projected.shape[2:]:
        raise UserError(
            f"padding has shape {tuple(padding.shape)}; use one row of the projection, "
            f"({projected.shape[2]},)"
        )
    width = projected.shape[2] // (3 * heads)
    request = Request(
        projected=projected,
        heads=heads,
        plan=plan,
        scale=width**-0.5 if scale is None else scale,
        bias=bias,
        padding=padding,
    )
    if backend != "auto" and backend not in BACKENDS:
        raise BackendError(f"backend is {backend!r}; use 'auto' or one of {list(BACKENDS)}")
    if backend == "reference":
        return reference.attention(request, backend="reference")
    reason = _reason_against(request, backend)
    if reason is None:
        return operator.attention(request)
    if backend != "auto":
        raise BackendError(reason)
    return reference.attention(request)


def _reason_against(request: Request, backend: str) -> str | None:
    """Why kernels cannot take the request, with the remedy, or None if they can."""
    if backend == "auto":
        if not request.projected.is_cpu:
            return _against_triton(request)
        if not readable(request.projected):
            return "auto: a compiler fuses the windows into what surrounds them; use 'native'"
        return _against_native(request)
    return _against_native(request) if backend == "native" else _against_triton(request)


def _against_native(request: Request) -> str | None:
    projected = request.projected
    if not projected.is_cpu:
        return f"native kernels are for the CPU, not {projected.device}; use backend='auto'"
    if projected.dtype not in _NATIVE_DTYPES:
        return f"native: {projected.dtype} has no kernel; use float32 or bfloat16, or 'auto'"
    if interpreted():
        return "native: TRITON_INTERPRET=1 asks for Triton's kernels; use 'triton', or unset it"
    # A graph is not the place to start a compiler; its operator does so when it runs.
    return None if torch.compiler.is_compiling() else reason_against_source(SOURCE)


def _against_triton(request: Request) -> str | None:
    projected = request.projected
    if projected.dtype not in _TRITON_DTYPES:
        return f"triton: {projected.dtype} has no kernel; use backend='reference'"
    size = request.plan.positions.shape[1]
    if size > _TRITON_POSITIONS:
        return (
            f"triton: a window of {size} positions does not fit in one tile of {_TRITON_POSITIONS}; use "
            "backend='auto', which cuts windows out for ops.attention"
        )
    width = projected.shape[2] // (3 * request.heads)
    if width > _TRITON_WIDTH:
        return f"triton: heads are {width} wide, more than {_TRITON_WIDTH}; use backend='auto'"
    if projected.shape[1] * projected.shape[2] > _TRITON_NUMBERS:
        return (
            f"triton: an item of {projected.shape[1]} x {projected.shape[2]} numbers has more than "
            f"{_TRITON_NUMBERS}; use backend='auto'"
        )
    return reason_against_device(projected.device)


def _check(
    projected: Tensor,
    heads: int,
    grid: Sequence[int],
    window: Sequence[int],
    shift: Sequence[int],
) -> None:
    for name, pair in (("grid", grid), ("window", window), ("shift", shift)):
        if len(pair) != 2:
            raise UserError(f"{name} is {tuple(pair)}; use (rows, columns)")
    if projected.dim() != 3 or not projected.shape[1] == grid[0] * grid[1]:
        raise UserError(
            f"projected has shape {tuple(projected.shape)}; use (batch, {grid[0]} * {grid[1]}, "
            "3 * heads * width)"
        )
    if projected.shape[2] % (3 * heads):
        raise UserError(
            f"projected is {projected.shape[2]} wide, which 3 * {heads} heads do not divide"
        )
    if min(window) < 1:
        raise UserError(f"window {tuple(window)} needs at least one token on each side")
    for size, step in zip(window, shift, strict=True):
        if not 0 <= step < size:
            raise UserError(
                f"shift {tuple(shift)} must lie between 0 and the window {tuple(window)} less one"
            )


def _bias(table: Tensor | None, index: Tensor | None, plan: Plan, heads: int) -> Tensor | None:
    """The biases of one window, (H, S, S)."""
    if table is None and index is None:
        return None
    if table is None or index is None:
        raise UserError("table and index belong together; pass both or neither")
    size = plan.positions.shape[1]
    if table.dim() != 2 or not table.shape[1] == heads:
        raise UserError(
            f"table has shape {tuple(table.shape)}; use (entries, heads) with {heads} heads"
        )
    if not index.shape == (size, size):
        raise UserError(
            f"index has shape {tuple(index.shape)}; a window of {plan.window} needs {(size, size)}"
        )
    return F.embedding(index.long(), table).movedim(-1, 0)
