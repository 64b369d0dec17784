"""What Triton's interpreter needs to show more faults: bfloat16, guarded memory, any order of programs."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import triton.language as tl
from torch import Tensor
from triton.runtime import interpreter

# Bytes before and behind each buffer. All ones: a NaN in every floating-point type, -1 in integers.
_GUARD = 4096
_CANARY = 0xFF


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


@contextlib.contextmanager
def guarded_memory() -> Iterator[None]:
    """Within it, kernels see each buffer between canary words that must be there afterwards.

    A write outside a buffer is an error; what is read there is NaN (-1 for integers), so that it shows
    in the results.

    Raises:
        AssertionError: A kernel wrote outside a buffer; the message names the kernel and the argument.
    """
    executor: Any = interpreter.GridExecutor
    original: Callable[..., None] = executor.__call__

    def run(self: Any, *arguments: Any, **named: Any) -> None:
        rooms: dict[int, tuple[Tensor, Tensor, str]] = {}
        given: dict[Any, Any] = dict(enumerate(arguments)) | named
        names: dict[Any, str] = dict(enumerate(self.arg_names))
        moved = {
            place: _moved(value, rooms, names.get(place, str(place)))
            for place, value in given.items()
        }
        original(self, *(moved[n] for n in range(len(arguments))), **{n: moved[n] for n in named})
        for room, memory, name in rooms.values():
            intact = (room[:_GUARD] == _CANARY).all() and (room[-_GUARD:] == _CANARY).all()
            assert intact, f"{self.fn.__name__} wrote outside the memory of {name}"
            memory.copy_(room[_GUARD:-_GUARD])

    executor.__call__ = run
    try:
        yield
    finally:
        executor.__call__ = original


def _moved(value: Any, rooms: dict[int, tuple[Tensor, Tensor, str]], name: str) -> Any:
    """An argument with all its tensors guarded, those in groups too."""
    if isinstance(value, Tensor):
        return _guarded(value, rooms, name)
    if isinstance(value, tuple):
        labels = getattr(value, "_fields", range(len(value)))
        inner = [
            _moved(member, rooms, f"{name}.{label}")
            for label, member in zip(labels, value, strict=True)
        ]
        return type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    return value


def _guarded(tensor: Tensor, rooms: dict[int, tuple[Tensor, Tensor, str]], name: str) -> Tensor:
    """The tensor as a view of a copy of its memory between canary words."""
    tensor = tensor.detach()
    storage = tensor.untyped_storage()
    if storage.data_ptr() not in rooms:
        memory = torch.empty(0, dtype=torch.uint8).set_(storage)  # pyright: ignore[reportArgumentType]
        room = torch.full((len(memory) + 2 * _GUARD,), _CANARY, dtype=torch.uint8)
        room[_GUARD:-_GUARD] = memory
        rooms[storage.data_ptr()] = room, memory, name
    room = rooms[storage.data_ptr()][0]
    start = tensor.storage_offset() + _GUARD // tensor.element_size()
    view = torch.empty(0, dtype=tensor.dtype)
    return view.set_(room.untyped_storage(), start, tensor.shape, tensor.stride())  # pyright: ignore


@contextlib.contextmanager
def permuted_programs(seed: int) -> Iterator[None]:
    """Within it, the programs of a one-dimensional grid run in a random order.

    Programs that do not race give the same bits in any order.
    """
    builder: Any = interpreter.InterpreterBuilder
    original = builder.set_grid_idx
    generator = np.random.default_rng(seed)
    orders: dict[int, Any] = {}

    def set_grid_idx(self: Any, x: int, y: int, z: int) -> None:
        if x == 0:
            orders[0] = generator.permutation(self.grid_dim[0])
        original(self, int(orders[0][x]), y, z)

    builder.set_grid_idx = set_grid_idx
    try:
        yield
    finally:
        builder.set_grid_idx = original
