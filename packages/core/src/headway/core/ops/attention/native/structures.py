"""The arguments of the C++ functions, field by field as in attention.cpp."""

import ctypes

import torch
from torch import Tensor

from headway.core.ops.attention.request import Request
from headway.core.ops.native.draws import Draws, draws_of

_Three, _Four = ctypes.c_long * 3, ctypes.c_long * 4
_Pointer, _Long = ctypes.c_void_p, ctypes.c_long
_NO_LIMIT = -1


class Problem(ctypes.Structure):
    """One call: what attends to what, and where the results go."""

    _fields_ = (
        *((name, _Pointer) for name in ("query", "key", "value")),
        *((f"{name}_strides", _Three) for name in ("query", "key", "value")),
        ("out", _Pointer),
        ("out_strides", _Three),
        ("lse", _Pointer),
        *((name, _Long) for name in ("batch", "heads", "key_heads", "queries", "keys")),
        *((name, _Long) for name in ("width", "value_width")),
        ("scale", ctypes.c_float),
        ("bias", _Pointer),
        ("bias_strides", _Four),
        ("mask", _Pointer),
        ("mask_strides", _Four),
        *((name, _Pointer) for name in ("slopes", "lengths", "offsets", "key_offsets")),
        *((name, _Long) for name in ("items", "bottom_right", "left", "right", "threads")),
        ("dropout", Draws),
        ("table", _Pointer),
        ("entries", _Long),
        ("index", _Pointer),
        ("index_strides", _Three),
    )


class Gradients(ctypes.Structure):
    """The gradient of the output, and where those of the inputs go."""

    _fields_ = (
        ("grad", _Pointer),
        ("grad_strides", _Three),
        ("grad_lse", _Pointer),
        *((name, _Pointer) for name in ("query", "key", "value")),
        *((f"{name}_strides", _Three) for name in ("query", "key", "value")),
        ("bias", _Pointer),
        *((f"bias_{name}", _Long) for name in ("items", "heads", "rows", "columns", "padded")),
        ("parts", _Long),
        ("slopes", _Pointer),
        ("table", _Pointer),
    )


def problem_of(request: Request, out: Tensor, lse: Tensor) -> tuple[Problem, list[Tensor]]:
    """A request whose rows are contiguous, bias in float32, scale a number and index checked.

    Returns:
        The arguments, and the tensors that must live as long as they do.
    """
    batch, heads, queries, keys = request.shape
    window = request.window or (None, None)
    left, right = (_NO_LIMIT if side is None else side for side in window)
    problem = Problem(
        lse=lse.data_ptr(),
        batch=batch,
        heads=heads,
        key_heads=request.key.shape[1],
        queries=queries,
        keys=keys,
        width=request.query.shape[3],
        value_width=request.value.shape[3],
        scale=request.scale,
        bottom_right=request.causal != "top-left",
        left=left,
        right=0 if request.causal else right,
        threads=torch.get_num_threads(),
    )
    kept = [lse]
    if request.table is not None and request.index is not None:
        kept += [request.table.T.float().contiguous(), request.index.long()]
        problem.table, problem.index = (x.data_ptr() for x in kept[-2:])
        problem.entries = len(request.table)
        shared = (batch, queries, keys)
        problem.index_strides = _Three(*kept[-1].expand(shared).stride())
    if request.seed is not None:
        problem.dropout = draws_of(int(request.seed), request.dropout)
    for name, rows in (
        ("query", request.query),
        ("key", request.key),
        ("value", request.value),
        ("out", out),
    ):
        kept.append(rows)
        point(problem, name, rows)
    for name, tensor in (("bias", request.bias), ("mask", request.mask)):
        if tensor is not None:
            kept.append(tensor)
            setattr(problem, name, tensor.data_ptr())
            strides = tensor.expand(batch, heads, queries, keys).stride()
            setattr(problem, f"{name}_strides", _Four(*strides))
    for name, vector, dtype in (
        ("slopes", request.alibi_slopes, torch.float32),
        ("lengths", request.lengths, torch.int64),
        ("offsets", request.offsets, torch.int64),
        ("key_offsets", request.key_offsets, torch.int64),
    ):
        if vector is not None:
            kept.append(vector.detach().to(dtype).contiguous())
            setattr(problem, name, kept[-1].data_ptr())
    if request.offsets is not None:
        problem.items = request.offsets.shape[0] - 1
    return problem, kept


def point(structure: ctypes.Structure, name: str, rows: Tensor) -> None:
    """Sets a pointer and the strides of item, head and token that belong to it."""
    setattr(structure, name, rows.data_ptr())
    setattr(structure, f"{name}_strides", _Three(*rows.stride()[:3]))
