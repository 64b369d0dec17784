"""Turns launches of kernels into cases for the audit, so that what is compiled is what is launched."""

from typing import Any

import torch
from torch import Tensor

_TYPES = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.uint8: "*u8",
    torch.bool: "*i1",
}


def specialised(
    names: list[str], arguments: tuple[Any, ...]
) -> tuple[dict[str, Any], dict[Any, Any], frozenset[Any]]:
    """What Triton's just-in-time compiler makes of the arguments of a launch.

    Returns:
        The signature, the constants and the multiples of 16, as `aot.Case` takes them.
    """
    signature: dict[str, Any] = {}
    constants: dict[Any, Any] = {}
    aligned: set[Any] = set()

    def walk(value: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(value, tuple):
            inner = [walk(member, (*path, place)) for place, member in enumerate(value)]
            return type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
        key = path[0] if len(path) == 1 else path
        if value is None or (isinstance(value, int) and value == 1):
            constants[key] = value
            return "constexpr"
        if isinstance(value, Tensor):
            aligned.add(key)
            return _TYPES[value.dtype]
        if isinstance(value, float):
            return "fp32"
        if value % 16 == 0:
            aligned.add(key)
        return "i32" if -(2**31) <= value < 2**31 else "i64"

    for name, value in zip(names, arguments, strict=False):
        signature[name] = walk(value, (name,))
    return signature, constants, frozenset(aligned)
