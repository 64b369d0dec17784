"""Multi-scale deformable attention: a few weighted places of several maps for each query."""

from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention.dispatch import BackendError
from headway.core.ops.attention.request import readable
from headway.core.ops.deformable_attention import operator, reference
from headway.core.ops.deformable_attention.native.launch import SOURCE
from headway.core.ops.native import reason_against as reason_against_source

__all__ = ["deformable_attention"]


def deformable_attention(
    value: Tensor,
    locations: Tensor,
    weights: Tensor,
    *,
    levels: Sequence[Sequence[int]],
    backend: str = "auto",
) -> Tensor:
    """Sums values at places between tokens by their weights.

    A value between tokens is interpolated from the four around it; what lies outside of a map is zero.
    Places are counted from the borders: the centre of the first token of a row of n is at 1 / (2 n).
    Second derivatives are defined; gradients of values are summed in the order of the queries.

    Args:
        value: Values of the tokens of all maps, one map after the other.
        locations: For each query, head, map and point its place (x, y), 0 to 1 within the map.
        weights: By how much each point counts; usually a softmax over maps and points.
        levels: Rows and columns of each map.
        backend: "auto", "native" (C++ on the CPU) or "reference".

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
    _check(value, locations, weights, grids)
    if backend not in ("auto", "native", "reference"):
        raise BackendError(f"backend is {backend!r}; use 'auto', 'native' or 'reference'")
    if backend == "native" or (backend == "auto" and readable(value)):
        reason = _reason_against(value)
        if reason is None:
            return operator.attention(value, locations, weights, grids)
        if backend == "native":
            raise BackendError(reason)
    return reference.attention(value, locations, weights, grids)


def _reason_against(value: Tensor) -> str | None:
    """Why the C++ kernels cannot take the call, with the remedy, or None if they can."""
    if not value.is_cpu:
        return f"native kernels are for the CPU, not {value.device}; use backend='auto'"
    if value.dtype != torch.float32:
        return f"native: {value.dtype} has no kernel; use float32, or backend='auto'"
    # A graph is not the place to start a compiler; its operator does so when it runs.
    return None if torch.compiler.is_compiling() else reason_against_source(SOURCE)


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
