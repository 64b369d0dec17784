"""Attention of each token to its neighbours on a grid, in one or two dimensions."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention.dispatch import BackendError
from headway.core.ops.kernels.machine import reason_against as reason_against_device
from headway.core.ops.kernels.operators import autocast
from headway.core.ops.neighbourhood import native, operator, reference
from headway.core.ops.neighbourhood.geometry import Pair, flat

BACKENDS = ("native", "triton", "reference")
_TRITON_WIDTHS = (16, 32, 64, 128)


def neighbourhood_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    grid: Sequence[int],
    window: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    table: Tensor | None = None,
    lengths: Tensor | None = None,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Softmax attention of each token to the window around it, moved back into the grid at its border.

    Nothing is copied or padded, and no matrix of tokens by tokens is made; the gradient of the bias
    table is deterministic. Second derivatives are defined.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        grid: How the tokens lie: (N,) or (rows, columns), last axis fastest.
        window: Side of the window in tokens, one number or one per axis; it shrinks to the grid.
        dilation: Steps between the tokens of a window, one number or one per axis.
        table: Learned biases by relative position and head, in the order of `positions.RelativeBias` with
            `grid=window`; differentiable.
        lengths: Tokens of each item that exist, for grids of one axis without dilation; the others
            neither count nor get anything.
        scale: Factor of the scores; 1 / sqrt(D) if None.
        backend: "auto", "native" (C++ on the CPU), "triton" or "reference".

    Returns:
        The weighted values, in the dtype of the queries.

    Shape:
        query, key, value: (B, H, N, D). table: (prod(2 window - 1), H). lengths: (B,). Output:
        (B, H, N, D).

    Raises:
        UserError: An argument has the wrong shape or value.
        BackendError: The named backend cannot run here; the message says why.

    Source:
        Hassani et al. 2022, https://arxiv.org/abs/2204.07143; dilation: Hassani & Shi 2022,
        https://arxiv.org/abs/2209.15001.
    """
    sides, pair, steps = _checked(query, key, value, grid, window, dilation, table, lengths)
    factor = query.shape[3] ** -0.5 if scale is None else scale
    # The table keeps its type, as parameters do.
    query, key, value = autocast(query, key, value)
    chosen = _choose(query, backend)
    tensors = [x.unflatten(2, sides) for x in (query, key, value)]
    if steps == (1, 1):
        return flat(_attend(chosen, tensors, table, lengths, pair, factor))
    rows = []
    for y in range(steps[0]):
        columns = []
        for x in range(steps[1]):
            part = [tensor[:, :, y :: steps[0], x :: steps[1]] for tensor in tensors]
            columns.append(_attend(chosen, part, table, lengths, pair, factor))
        rows.append(_interleaved(columns, 3, sides[1]))
    return flat(_interleaved(rows, 2, sides[0]))


def _interleaved(parts: list[Tensor], axis: int, size: int) -> Tensor:
    """Puts every n-th position of an axis, taken apart before, together again."""
    if len(parts) == 1:
        return parts[0]
    positions = torch.cat([torch.arange(n, size, len(parts)) for n in range(len(parts))])
    order = torch.argsort(positions).to(parts[0].device)
    return torch.cat(parts, dim=axis).index_select(axis, order)


def _attend(
    backend: str,
    tensors: list[Tensor],
    table: Tensor | None,
    lengths: Tensor | None,
    window: Pair,
    scale: float,
) -> Tensor:
    query, key, value = tensors
    if backend == "reference":
        return reference.attention(query, key, value, table, lengths, window, scale)[0]
    return operator.neighbourhood_forward(query, key, value, table, lengths, list(window), scale)[0]


def _choose(query: Tensor, backend: str) -> str:
    if backend == "reference":
        return backend
    reasons = {"native": _against_native(query), "triton": _against_triton(query)}
    if backend == "auto":
        return next((name for name, reason in reasons.items() if reason is None), "reference")
    if backend not in BACKENDS:
        raise BackendError(f"backend is {backend!r}; use 'auto' or one of {list(BACKENDS)}")
    reason = reasons[backend]
    if reason is not None:
        raise BackendError(reason)
    return backend


def _against_native(query: Tensor) -> str | None:
    if not query.is_cpu:
        return f"native: kernels are for the CPU, query is on {query.device}; use backend='auto'"
    if query.dtype == torch.float64:
        return "native: kernels compute in float32, query is float64; use backend='reference'"
    if not operator.native_runs(query):
        return native.reason_against() or "native: TRITON_INTERPRET=1 asks for Triton's kernels"
    return None


def _against_triton(query: Tensor) -> str | None:
    if query.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"triton: {query.dtype} has no kernel; use backend='reference'"
    if query.shape[3] not in _TRITON_WIDTHS:
        return f"triton: head width {query.shape[3]} is none of {_TRITON_WIDTHS}; use 'reference'"
    return reason_against_device(query.device)


def _checked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    grid: Sequence[int],
    window: int | Sequence[int],
    dilation: int | Sequence[int],
    table: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Pair, Pair, Pair]:
    """Grid, window and dilation as rows and columns; a sequence is one row."""
    if query.dim() != 4 or key.shape != query.shape or value.shape != query.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (query, key, value))
        raise UserError(f"query, key and value need one shape (B, H, N, D), got {shapes}")
    axes = len(grid)
    if axes not in (1, 2) or prod(grid) != query.shape[2]:
        raise UserError(f"grid {tuple(grid)} does not hold {query.shape[2]} tokens on 1 or 2 axes")
    windows = (window,) * axes if isinstance(window, int) else tuple(window)
    steps = (dilation,) * axes if isinstance(dilation, int) else tuple(dilation)
    for name, numbers in (("window", windows), ("dilation", steps)):
        if len(numbers) != axes or min(numbers) < 1:
            raise UserError(f"{name} {numbers} needs {axes} positive numbers, one per axis")
    for size, step in zip(grid, steps, strict=True):
        if step > size:
            raise UserError(
                f"dilation {steps} steps over the grid {tuple(grid)}; use a smaller one"
            )
    if table is not None:
        rows = prod([2 * size - 1 for size in windows])
        if table.shape != (rows, query.shape[1]):
            raise UserError(
                f"table has shape {tuple(table.shape)}; window {windows} and {query.shape[1]} heads "
                f"need ({rows}, {query.shape[1]})"
            )
    if lengths is not None:
        if axes != 1 or steps != (1,):
            raise UserError("lengths need a grid of one axis and dilation 1; mask pictures before")
        if lengths.shape != (query.shape[0],):
            raise UserError(f"lengths has shape {tuple(lengths.shape)}; use ({query.shape[0]},)")
    if axes == 1:
        return (1, grid[0]), (1, windows[0]), (1, steps[0])
    return (grid[0], grid[1]), (windows[0], windows[1]), (steps[0], steps[1])
