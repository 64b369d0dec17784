"""The kernels of `ops.deformable_attention`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from aot import Case

from cases import TYPES, tile_in_table
from headway.core.ops.deformable_attention.triton.backward import gradient_kernel, value_kernel
from headway.core.ops.deformable_attention.triton.forward import forward_kernel
from headway.core.ops.kernels.tiles import Tile

KERNELS: dict[str, Any] = {
    "forward": forward_kernel,
    "gradient": gradient_kernel,
    "value": value_kernel,
}
# The encoder of Deformable DETR: four levels of a picture of 512 x 512, eight heads, four points a level.
_TOKENS, _HEADS, _POINTS = 5440, 8, 16
_POINTERS = ("value", "locations", "weights", "out", "grad", "grad_value")
_OTHERS = {
    "grad_locations": "locations",
    "grad_weights": "weights",
    "levels": "*i32",
    "keys": "*i32",
    "order": "*i64",
    "bounds": "*i64",
    "coefficients": "*fp32",
}


def cases(
    arches: Sequence[int | str], dtypes: Sequence[str], widths: Sequence[int]
) -> Iterator[Case]:
    """Every kernel for every architecture, type and width."""
    for arch, dtype, width, kernel in itertools.product(
        arches, dtypes, (w for w in widths if w <= 128), KERNELS
    ):
        yield case(kernel, arch, dtype, width)


def case(kernel: str, arch: int | str, dtype: str, width: int, *, tile: Tile | None = None) -> Case:
    """One kernel, with the tile of the table unless another is given."""
    if tile is None:
        tile = tile_in_table("deformable_attention", kernel, arch, dtype, width)
    function = KERNELS[kernel]
    constants = {"D": width, "BLOCK_D": width, "BLOCK_T": tile.t, "BLOCK_S": tile.s}
    signature = {name: _type(name, dtype) for name in function.arg_names}
    traffic = _traffic(kernel, 4 if dtype == "float32" else 2, width)
    return Case(
        op="deformable_attention",
        kernel=kernel,
        function=function,
        arch=arch,
        dtype=dtype,
        width=width,
        signature=signature,
        constants={name: x for name, x in constants.items() if name in function.arg_names},
        # Strides of values of a width of 32 or more; the numbers of tokens, queries and heads are any.
        aligned=frozenset(
            name
            for name, kind in signature.items()
            if kind.startswith("*") or name.startswith("stride_")
        ),
        warps=tile.warps,
        stages=tile.stages,
        tensor_cores=False,
        shape=f"{_TOKENS} tokens and queries, {_HEADS} heads, {_POINTS} points",
        loaded=traffic[0],
        minimal=traffic[1],
        unfused=traffic[2],
        flops=traffic[3],
    )


def _traffic(kernel: str, item: int, width: int) -> tuple[int, int, int, int]:
    """Bytes that tiles load and store, that the same blocks need, and that separate operations move; flops.

    A block needs four rows of values for each point of each of its queries: where points lie is known
    only when it runs. The separate operations are those of transformers: a copy of the values per
    head, `grid_sample`, and a product with the weights.
    """
    rows = _TOKENS * _HEADS
    points = rows * _POINTS
    corners = 4 * points * width * item
    given = points * 3 * item
    own = rows * width * item
    samples = points * width * item
    if kernel == "forward":
        minimal = corners + given + own
        return minimal, minimal, minimal + 2 * own + 4 * samples, 8 * points * width
    if kernel == "gradient":
        # What the kernel of the values sorts: a key and a number per corner.
        minimal = corners + 2 * given + own
        return (
            minimal + 4 * points * 8,
            minimal,
            minimal + 2 * own + 6 * samples,
            16 * points * width,
        )
    # The rows of gradients that reach a token, and by how much each counts.
    minimal = corners + 4 * points * 4 + own
    return minimal + 4 * points * 8, minimal, minimal + 2 * own + 2 * samples, 8 * points * width


def _type(name: str, dtype: str) -> str:
    kind = _OTHERS.get(name, name)
    if kind.startswith("*"):
        return kind
    return "*" + TYPES[dtype] if kind in _POINTERS else "i32"
