"""Multi-scale deformable attention: a few weighted positions of several maps for each query."""

from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention.dispatch import BackendError
from headway.core.ops.deformable_attention import operator, reference
from headway.core.ops.deformable_attention.native.launch import SOURCE
from headway.core.ops.kernels.machine import reason_against as reason_against_device
from headway.core.ops.kernels.operators import autocast_type
from headway.core.ops.native import reason_against as reason_against_source
from headway.core.ops.tracing import readable

__all__ = ["deformable_attention"]

BACKENDS = ("native", "triton", "reference")
_TRITON_WIDTH = 128


def deformable_attention(
    value: Tensor,
    locations: Tensor,
    weights: Tensor,
    *,
    levels: Sequence[Sequence[int]],
    backend: str = "auto",
) -> Tensor:
    """Sums values at positions between tokens by their weights.

    A value between tokens is interpolated from the four around it; what lies outside of a map is zero.
    Positions are counted from the borders: the centre of the first token of a row of n is at 1 / (2 n).
    Second derivatives are defined; gradients of values are summed in a fixed order. Under autocast all
    three take their common type: positions in half precision would be off by whole tokens.

    Args:
        value: Values of the tokens of all maps, one map after the other.
        locations: For each query, head, map and point its position (x, y), 0 to 1 within the map.
        weights: By how much each point counts; usually a softmax over maps and points.
        levels: Rows and columns of each map.
        backend: "auto", "native" (C++ on the CPU), "triton" or "reference".

    Returns:
        The sums, heads side by side.

    Shape:
        value (B, S, H, D) with S the tokens of all maps; locations (B, Q, H, L, P, 2);
        weights (B, Q, H, L, P); result (B, Q, H * D).

    Raises:
        UserError: Shapes, dtypes or devices do not fit.
        BackendError: The named backend cannot take the call.

    Source:
        Zhu et al. 2021 (Deformable DETR), https://arxiv.org/abs/2010.04159, eq. 3.
    """
    grids = [_grid(level) for level in levels]
    if autocast_type(value) is not None:
        dtype = torch.promote_types(value.dtype, locations.dtype)
        dtype = torch.promote_types(dtype, weights.dtype)
        value, locations, weights = (x.to(dtype) for x in (value, locations, weights))
    _check(value, locations, weights, grids)
    if _choose(value, backend) == "reference":
        return reference.attention(value, locations, weights, grids)
    return operator.attention(value, locations, weights, grids)


def _choose(value: Tensor, backend: str) -> str:
    if backend == "reference":
        return backend
    reasons = {"native": _against_native(value), "triton": _against_triton(value)}
    if backend == "auto":
        # On the CPU, a graph is left to its compiler.
        if value.is_cpu and not readable(value):
            return "reference"
        return next((name for name, reason in reasons.items() if reason is None), "reference")
    if backend not in BACKENDS:
        raise BackendError(f"backend is {backend!r}; use 'auto' or one of {list(BACKENDS)}")
    reason = reasons[backend]
    if reason is not None:
        raise BackendError(reason)
    return backend


def _against_native(value: Tensor) -> str | None:
    """Why the C++ kernels cannot take the call, with the remedy, or None if they can."""
    if not value.is_cpu:
        return f"native kernels are for the CPU, not {value.device}; use backend='auto'"
    if value.dtype != torch.float32:
        return f"native: {value.dtype} has no kernel; use float32, or backend='auto'"
    if not operator.native_runs(value):
        return "native: TRITON_INTERPRET=1 asks for Triton's kernels; unset it"
    # A graph is not the place to start a compiler; its operator does so when it runs.
    return None if torch.compiler.is_compiling() else reason_against_source(SOURCE)


def _against_triton(value: Tensor) -> str | None:
    """Why the Triton kernels cannot take the call, with the remedy, or None if they can."""
    if value.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"triton: {value.dtype} has no kernel; use backend='reference'"
    if value.shape[3] > _TRITON_WIDTH:
        return f"triton: head width {value.shape[3]} > {_TRITON_WIDTH}; use backend='reference'"
    return reason_against_device(value.device)


def _grid(level: Sequence[int]) -> tuple[int, int]:
    if len(level) != 2:
        raise UserError(f"a level is {tuple(level)}; use (rows, columns)")
    return level[0], level[1]


def _check(
    value: Tensor, locations: Tensor, weights: Tensor, levels: list[tuple[int, int]]
) -> None:
    tokens = sum(rows * columns for rows, columns in levels)
    if value.dim() != 4 or not value.shape[1] == tokens:
        raise UserError(
            f"value has shape {tuple(value.shape)}; levels {levels} hold {tokens} tokens: use "
            f"(batch, {tokens}, heads, width)"
        )
    if weights.dim() != 5 or not (
        weights.shape[0] == value.shape[0]
        and weights.shape[2] == value.shape[2]
        and weights.shape[3] == len(levels)
    ):
        raise UserError(
            f"weights has shape {tuple(weights.shape)}; use (batch, queries, heads, levels, points) "
            f"with {value.shape[0]} items, {value.shape[2]} heads and {len(levels)} levels"
        )
    if not locations.shape == (*weights.shape, 2):
        raise UserError(
            f"locations has shape {tuple(locations.shape)}; use an x and a y for each weight, "
            f"{(*weights.shape, 2)}"
        )
    for name, tensor in (("locations", locations), ("weights", weights)):
        if tensor.dtype != value.dtype or tensor.device != value.device:
            raise UserError(
                f"{name} is {tensor.dtype} on {tensor.device} and value {value.dtype} on "
                f"{value.device}; cast and move them to one"
            )
