"""The C++ kernel: each row reads its own keys and no others, and no scores leave the registers."""

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from headway.core.ops import native
from headway.core.ops.tracing import constant

_SOURCE = Path(__file__).with_name("decode.cpp")
# As in decode.cpp: the same on every machine, however wide its vectors are.
_WIDEST = 256


def reason_against(query: Tensor, keys: Tensor, values: Tensor) -> str | None:
    """Why the kernel cannot run, with the remedy, or None if it can."""
    if not query.is_cpu:
        return f"native: runs on the CPU, not on {query.device}; use backend='auto'"
    if any(x.dtype != torch.float32 for x in (query, keys, values)):
        return f"native: takes float32 alone, not {query.dtype}; use backend='attention'"
    if any(x.stride(3) != 1 for x in (query, keys, values)):
        return "native: neighbouring channels must lie side by side; use .contiguous()"
    widest = max(query.shape[3], values.shape[3])
    if widest > _WIDEST:
        return f"native: heads of {widest} channels are above {_WIDEST}; use backend='attention'"
    reason = _built()
    return None if reason is None else f"native: {reason}"


def decode_attention(
    query: Tensor, keys: Tensor, values: Tensor, lengths: Tensor, window: int | None, scale: float
) -> Tensor:
    """Runs the kernel; as the reference."""
    batch, heads, tokens, channels = query.shape
    kv_heads, size, width = values.shape[1:]
    out = query.new_empty((batch, tokens, heads, width)).transpose(1, 2)
    library = _library()
    splits = max(1, -(-size // library.headway_decode_split()))
    rows = batch * kv_heads * splits * (heads // kv_heads) * tokens
    partial = query.new_empty(rows * (width + 2) if splits > 1 else 0)
    lengths = lengths.to(torch.int64).contiguous()
    numbers = (
        *(batch, kv_heads, heads // kv_heads, tokens, size, splits),
        -1 if window is None else window,
        *query.stride()[:3],
        *keys.stride()[:3],
        *values.stride()[:3],
        *out.stride()[:3],
        channels,
        width,
    )
    done: bool = library.headway_decode(
        query.data_ptr(),
        keys.data_ptr(),
        values.data_ptr(),
        lengths.data_ptr(),
        out.data_ptr(),
        partial.data_ptr(),
        (ctypes.c_int64 * len(numbers))(*numbers),
        scale,
    )
    assert done, "reason_against lets widths pass that the kernel lacks"
    return out


@constant
def _built() -> str | None:
    """Why there is no library; a constant to the compiler of graphs."""
    return native.reason_against(_SOURCE)


@functools.cache
def _library() -> ctypes.CDLL:
    library = native.library(_SOURCE)
    library.headway_decode_split.restype = ctypes.c_int64
    library.headway_decode.restype = ctypes.c_bool
    library.headway_decode.argtypes = [*(ctypes.c_void_p,) * 7, ctypes.c_float]
    return library
