"""Calls into the C++ kernels: tensors to pointers and strides, and memory for the results."""

import ctypes
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from headway.core.ops import native

SOURCE = Path(__file__).with_name("attention.cpp")
# Partial sums of the gradient of a bias: at most so many, in at most so many elements.
_PARTS, _PARTIAL = 16, 2**22

_Three, _Four = ctypes.c_long * 3, ctypes.c_long * 4
_Pointer, _Long = ctypes.c_void_p, ctypes.c_long


class _Problem(ctypes.Structure):
    """As in attention.cpp."""

    _fields_ = (
        *((name, _Pointer) for name in ("query", "key", "value")),
        *((f"{name}_strides", _Three) for name in ("query", "key", "value")),
        ("out", _Pointer),
        ("out_strides", _Three),
        ("lse", _Pointer),
        *(
            (name, _Long)
            for name in ("batch", "heads", "key_heads", "queries", "keys", "width", "value_width")
        ),
        ("scale", ctypes.c_float),
        ("bias", _Pointer),
        ("bias_strides", _Four),
        ("mask", _Pointer),
        ("mask_strides", _Four),
        *((name, _Pointer) for name in ("slopes", "lengths", "offsets", "key_offsets")),
        *((name, _Long) for name in ("items", "bottom_right", "left", "right", "threads")),
    )


class _Gradients(ctypes.Structure):
    """As in attention.cpp."""

    _fields_ = (
        ("grad", _Pointer),
        ("grad_strides", _Three),
        ("grad_lse", _Pointer),
        *((name, _Pointer) for name in ("query", "key", "value")),
        *((f"{name}_strides", _Three) for name in ("query", "key", "value")),
        ("bias", _Pointer),
        *(
            (f"bias_{name}", _Long)
            for name in ("items", "heads", "rows", "columns", "padded")
        ),
        ("parts", _Long),
    )


def empty_rows(like: Tensor, width: int, zero: bool = False) -> Tensor:
    """Memory for (B, H, T, width) in which the heads of a token lie side by side."""
    batch, heads, tokens, _ = like.shape
    make = like.new_zeros if zero else like.new_empty
    return make(batch, tokens, heads, width).transpose(1, 2)


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    slopes: Tensor | None,
    lengths: Tensor | None,
    offsets: Tensor | None,
    key_offsets: Tensor | None,
    scale: float,
    bottom_right: bool,
    window: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """The output and the log-sum-exp of the scores.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        bias: Bias, float32.
        mask: Mask.
        slopes: Penalties of distance, float32.
        lengths: Number of keys of each item.
        offsets: Bounds of packed items.
        key_offsets: Bounds of the packed keys.
        scale: Factor of the scores.
        bottom_right: Whether the last query stands at the last key, else the first at the first.
        window: Reach to the left and to the right; -1 is without limit.

    Shape:
        As in `headway.core.ops.attention`.
    """
    out = empty_rows(query, value.shape[3], zero=offsets is not None)
    lse = query.new_empty(query.shape[:3], dtype=torch.float32)
    if offsets is not None:
        lse.fill_(-torch.inf)
    problem, kept = _problem(
        query, key, value, out, lse, bias, mask, slopes, lengths, offsets, key_offsets,
        scale, bottom_right, window,
    )  # fmt: skip
    library = native.library(SOURCE)
    library.attention_forward(ctypes.byref(problem), int(query.dtype == torch.bfloat16))
    del kept
    return out, lse


def backward(
    grad: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    slopes: Tensor | None,
    lengths: Tensor | None,
    offsets: Tensor | None,
    key_offsets: Tensor | None,
    out: Tensor,
    lse: Tensor,
    scale: float,
    bottom_right: bool,
    window: Sequence[int],
    bias_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value and bias; that of the bias is empty unless `bias_grad`.

    Args:
        grad: Gradient of the output.
        grad_lse: Gradient of the log-sum-exp.
        query: As in `forward`, and so are the others.
        key: Keys.
        value: Values.
        bias: Bias.
        mask: Mask.
        slopes: Slopes.
        lengths: Lengths.
        offsets: Offsets.
        key_offsets: Offsets of the keys.
        out: What `forward` gave.
        lse: What `forward` gave.
        scale: Scale.
        bottom_right: Corner.
        window: Window.
        bias_grad: Whether the gradient of the bias is wanted.
    """
    problem, kept = _problem(
        query, key, value, out, lse, bias, mask, slopes, lengths, offsets, key_offsets,
        scale, bottom_right, window,
    )  # fmt: skip
    # Tokens that belong to no item are not visited.
    apart = offsets is not None
    grads = (
        empty_rows(query, query.shape[3], zero=apart),
        empty_rows(key, key.shape[3], zero=apart or lengths is not None),
        empty_rows(value, value.shape[3], zero=apart or lengths is not None),
    )
    grad = _rows(grad)
    wanted = _Gradients(grad=grad.data_ptr(), grad_strides=_Three(*grad.stride()[:3]))
    if grad_lse is not None:
        grad_lse = grad_lse.contiguous()
        wanted.grad_lse = grad_lse.data_ptr()
    for name, tensor in zip(("query", "key", "value"), grads, strict=True):
        setattr(wanted, name, tensor.data_ptr())
        setattr(wanted, f"{name}_strides", _Three(*tensor.stride()[:3]))
    library, narrow = native.library(SOURCE), int(query.dtype == torch.bfloat16)
    if bias is None or not bias_grad:
        library.attention_backward(ctypes.byref(problem), ctypes.byref(wanted), narrow)
        del kept
        return *grads, query.new_empty(0)
    sizes = (*(1,) * (4 - bias.dim()), *bias.shape)
    padded = -(-(sizes[3] + 16) // 16) * 16 if sizes[3] > 1 else 1
    elements = math.prod(sizes[:3]) * padded
    parts = 1
    if sizes[0] == 1:
        sequences = query.shape[0] if offsets is None else len(offsets) - 1
        parts = max(1, min(_PARTS, sequences, _PARTIAL // max(elements, 1)))
    partial = torch.zeros(parts, elements, dtype=torch.float32)
    wanted.bias, wanted.parts = partial.data_ptr(), parts
    wanted.bias_items, wanted.bias_heads, wanted.bias_rows, wanted.bias_columns = sizes
    wanted.bias_padded = padded
    library.attention_backward(ctypes.byref(problem), ctypes.byref(wanted), narrow)
    total = torch.empty(bias.shape, dtype=torch.float32)
    library.attention_bias_gradient(
        _Pointer(partial.data_ptr()), _Pointer(total.data_ptr()),
        *(_Long(x) for x in (parts, math.prod(sizes[:3]), sizes[3], padded, problem.threads)),
    )  # fmt: skip
    del kept
    return *grads, total


def _problem(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    slopes: Tensor | None,
    lengths: Tensor | None,
    offsets: Tensor | None,
    key_offsets: Tensor | None,
    scale: float,
    bottom_right: bool,
    window: Sequence[int],
) -> tuple[_Problem, list[Tensor]]:
    """The arguments, and the tensors that must live as long as they do."""
    query, key, value, out = (_rows(x) for x in (query, key, value, out))
    kept = [query, key, value, out, lse]
    problem = _Problem(
        lse=lse.data_ptr(),
        batch=query.shape[0],
        heads=query.shape[1],
        key_heads=key.shape[1],
        queries=query.shape[2],
        keys=key.shape[2],
        width=query.shape[3],
        value_width=value.shape[3],
        scale=scale,
        bottom_right=bottom_right,
        left=window[0],
        right=window[1],
        threads=torch.get_num_threads(),
    )
    for name, tensor in (("query", query), ("key", key), ("value", value), ("out", out)):
        setattr(problem, name, tensor.data_ptr())
        setattr(problem, f"{name}_strides", _Three(*tensor.stride()[:3]))
    scores = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    for name, tensor in (("bias", bias), ("mask", mask)):
        if tensor is not None:
            setattr(problem, name, tensor.data_ptr())
            setattr(problem, f"{name}_strides", _Four(*tensor.expand(scores).stride()))
    for name, tensor in (("slopes", slopes), ("lengths", lengths), ("offsets", offsets),
                         ("key_offsets", key_offsets)):  # fmt: skip
        if tensor is not None:
            tensor = tensor.to(torch.float32 if name == "slopes" else torch.int64).contiguous()
            kept.append(tensor)
            setattr(problem, name, tensor.data_ptr())
    if offsets is not None:
        problem.items = len(offsets) - 1
    return problem, kept


def _rows(tensor: Tensor) -> Tensor:
    """The tensor, or a copy, whose rows are contiguous."""
    return tensor if tensor.stride(3) == 1 or tensor.shape[3] == 1 else tensor.contiguous()
