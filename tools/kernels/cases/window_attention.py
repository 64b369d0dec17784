"""The kernels of `ops.window_attention`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from aot import Case

from cases import TYPES, tile_in_table
from headway.core.ops.kernels.constants import padded
from headway.core.ops.kernels.tiles import Tile
from headway.core.ops.window_attention.triton.backward import backward_kernel
from headway.core.ops.window_attention.triton.forward import forward_kernel
from headway.core.ops.window_attention.triton.launch import shares_of

KERNELS: dict[str, Any] = {"forward": forward_kernel, "backward": backward_kernel}
_FLOATS = ("lse", "partial_bias", "partial_padding")
_POINTERS = ("projected", "bias", "padding", "out", "grad_out", "grad_projected")
# The first stage of Swin-T: 56 x 56 tokens, windows of 7 x 7, three heads.
_BATCH, _HEADS, _WINDOWS, _SIZE = 64, 3, 64, 49


def cases(
    arches: Sequence[int | str], dtypes: Sequence[str], widths: Sequence[int]
) -> Iterator[Case]:
    """Both kernels, shifted on a map with padding, and plain."""
    for arch, dtype, width, kernel, shifted in itertools.product(
        arches, dtypes, (w for w in widths if w <= 128), KERNELS, (True, False)
    ):
        yield case(kernel, arch, dtype, width, shifted=shifted)


def case(
    kernel: str,
    arch: int | str,
    dtype: str,
    width: int,
    *,
    shifted: bool = True,
    tile: Tile | None = None,
) -> Case:
    """One kernel, with the tile of the table unless another is given."""
    if tile is None:
        tile = tile_in_table("window_attention", kernel, arch, dtype, width)
    function = KERNELS[kernel]
    constants: dict[str, Any] = {
        "S": _SIZE,
        "D": width,
        "BLOCK_T": tile.t,
        "BLOCK_D": width,
        "PRECISION": "ieee",
    }
    if not shifted:
        constants |= {"padding": None, "regions": None, "partial_padding": None}
    signature = {name: _type(name, dtype) for name in function.arg_names}
    aligned = frozenset(
        name
        for name in function.arg_names
        if signature[name].startswith("*") or name.startswith("stride_")
    )
    traffic = _traffic(kernel, width, 4 if dtype == "float32" else 2, shifted)
    return Case(
        op="window_attention",
        kernel=f"{kernel} ({'shifted' if shifted else 'plain'})",
        function=function,
        arch=arch,
        dtype=dtype,
        width=width,
        signature=signature,
        constants={name: x for name, x in constants.items() if name in function.arg_names},
        aligned=aligned,
        warps=tile.warps,
        stages=tile.stages,
        shape=f"{_BATCH} x {_HEADS} x 56 x 56 in windows of 7 x 7",
        loaded=traffic[0],
        minimal=traffic[1],
        unfused=traffic[2],
        flops=(4 if kernel == "forward" else 10) * _BATCH * _HEADS * _WINDOWS * _SIZE**2 * width,
    )


def _traffic(kernel: str, width: int, item: int, shifted: bool) -> tuple[int, int, int]:
    """Bytes that the tiles move, that any algorithm must, and that separate operations do."""
    total = _BATCH * _WINDOWS
    _, shares = shares_of(total, _HEADS)
    rows = total * _HEADS * _SIZE
    pairs = rows * _SIZE
    plane = _HEADS * _SIZE * padded(_SIZE)
    # Queries, keys, values and outputs; backward the gradients of all four too, without the outputs.
    matrices = 4 if kernel == "forward" else 7
    numbers = rows * (8 + (4 if shifted else 0))
    minimal = rows * width * item * matrices + rows * 4
    # Biases once per program; backward once per window, and a float32 sum of their gradients, written and
    # read again.
    times = shares if kernel == "forward" else total
    biases = times * plane * item + (0 if kernel == "forward" else shares * plane * 8)
    loaded = minimal + numbers + biases
    # Cut and merged, a read and a write each, and passes over scores, bias, mask and softmax.
    copies, passes = (8, 8 if shifted else 6) if kernel == "forward" else (14, 8)
    unfused = minimal + copies * rows * width * item + passes * pairs * item
    return loaded, minimal, unfused


def _type(name: str, dtype: str) -> str:
    if name in _FLOATS:
        return "*fp32"
    if name in ("positions", "regions"):
        return "*i64" if name == "positions" else "*i32"
    if name == "scale":
        return "fp32"
    return "*" + TYPES[dtype] if name in _POINTERS else "i32"
