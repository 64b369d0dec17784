"""Makes Triton's interpreter compute with bfloat16, which it would multiply as integers."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter


@contextlib.contextmanager
def bfloat16_products() -> Iterator[None]:
    """Within it, `tl.dot` of the interpreter reads bfloat16 operands as the numbers they stand for.

    The interpreter keeps bfloat16 as its bits in uint16. Casts to bfloat16 still cut off instead of
    rounding, so errors are about twice those of a device.
    """
    builder: Any = interpreter.InterpreterBuilder
    original = builder.create_dot

    def widened(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return original(self, widened(a), widened(b), *rest)

    builder.create_dot = create_dot
    try:
        yield
    finally:
        builder.create_dot = original
