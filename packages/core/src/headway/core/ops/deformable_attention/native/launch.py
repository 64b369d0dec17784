"""Calls the C++ kernels of deformable attention; no checks of arguments."""

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from headway.core.ops import native

SOURCE = Path(__file__).with_name("deformable.cpp")
_Pointer, _Long, _Three = ctypes.c_void_p, ctypes.c_long, ctypes.c_long * 3


class _Sampling(ctypes.Structure):
    """As in deformable.cpp."""

    _fields_ = (
        ("value", _Pointer),
        ("value_strides", _Three),
        *((name, _Pointer) for name in ("locations", "weights", "out")),
        *((name, _Long) for name in ("items", "queries", "heads", "points", "width")),
        *((name, _Pointer) for name in ("columns", "rows", "first")),
        *((name, _Long) for name in ("padded", "threads")),
    )


class _Gradients(ctypes.Structure):
    """As in deformable.cpp."""

    _fields_ = (
        *((name, _Pointer) for name in ("grad", "value")),
        ("tokens", _Long),
        *((name, _Pointer) for name in ("locations", "weights")),
    )


def forward(value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]) -> Tensor:
    """Runs the forward kernel.

    Args:
        value: Values.
        locations: Where they are read.
        weights: By how much they count.
        levels: Rows and columns of each level in turn.

    Shape:
        (B, Q, H * D).
    """
    out = torch.empty(*locations.shape[:2], value.shape[2] * value.shape[3])
    sampling, kept = _sampling(value, locations, weights, levels)
    sampling.out = out.data_ptr()
    native.library(SOURCE).deformable_forward(ctypes.byref(sampling))
    del kept
    return out


def backward(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of values, locations and weights."""
    sampling, kept = _sampling(value, locations, weights, levels)
    grad = grad.contiguous()
    found = (torch.zeros(value.shape), torch.empty(locations.shape), torch.empty(weights.shape))
    gradients = _Gradients(
        grad=grad.data_ptr(),
        value=found[0].data_ptr(),
        tokens=value.shape[1],
        locations=found[1].data_ptr(),
        weights=found[2].data_ptr(),
    )
    native.library(SOURCE).deformable_backward(ctypes.byref(sampling), ctypes.byref(gradients))
    del kept
    return found


def _sampling(
    value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]
) -> tuple[_Sampling, list[Tensor]]:
    """The arguments, and the tensors that must live as long as they do."""
    value = value if value.stride(3) == 1 else value.contiguous()
    locations, weights = locations.contiguous(), weights.contiguous()
    points = weights.shape[3] * weights.shape[4]
    columns, rows, first = _points(tuple(levels), weights.shape[4], _vector())
    sampling = _Sampling(
        value=value.data_ptr(),
        value_strides=_Three(*value.stride()[:3]),
        locations=locations.data_ptr(),
        weights=weights.data_ptr(),
        items=value.shape[0],
        queries=locations.shape[1],
        heads=value.shape[2],
        points=points,
        width=value.shape[3],
        columns=columns.data_ptr(),
        rows=rows.data_ptr(),
        first=first.data_ptr(),
        padded=len(columns),
        threads=torch.get_num_threads(),
    )
    return sampling, [value, locations, weights, columns, rows, first]


@functools.cache
def _vector() -> int:
    return native.library(SOURCE).deformable_vector()


@functools.lru_cache(maxsize=64)
def _points(levels: tuple[int, ...], count: int, vector: int) -> tuple[Tensor, Tensor, Tensor]:
    """Columns, rows and first token of the level of each point, up to whole vectors."""
    found: list[tuple[int, int, int]] = []
    start = 0
    for rows, columns in zip(levels[::2], levels[1::2], strict=True):
        found += [(columns, rows, start)] * count
        start += rows * columns
    found += [(1, 1, 0)] * (-len(found) % vector)
    columns, rows, first = (torch.tensor(numbers) for numbers in zip(*found, strict=True))
    return columns.float(), rows.float(), first.to(torch.int32)
