"""The kernels of `ops.attention`, as the package launches them for requests of typical shapes."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from aot import Case
from recorder import specialised
from torch import Tensor

from headway.core.ops.attention.request import Request
from headway.core.ops.attention.triton import launch
from headway.core.ops.attention.triton.launch import Launcher, Wanted
from headway.core.ops.kernels.tiles import Tile

KERNELS = ("forward", "key_value", "query", "bias", "table", "distance", "delta")
# Batch, heads, key heads and tokens of the shapes that bytes are stated for.
_VISION = (64, 12, 12, 197)
_LANGUAGE = (4, 32, 8, 2048)
_SPEECH = (16, 8, 8, 512)
_PACKED = (1, 32, 8, 8192)
# Reach of the window, and items that are packed.
_WINDOW = 512
_ITEMS = 16


def _empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _integers(*shape: int) -> Tensor:
    return _empty(*shape, dtype=torch.int64)


def _vision(shape: tuple[int, int, int, int]) -> dict[str, Any]:
    batch, heads, _, tokens = shape
    return {
        "table": _empty(732, heads),
        "index": _integers(tokens, tokens),
        "mask": _empty(batch, 1, tokens, tokens, dtype=torch.bool),
        "scale": _empty(heads),
    }


def _language(shape: tuple[int, int, int, int]) -> dict[str, Any]:
    batch, heads, _, _ = shape
    return {
        "lengths": _integers(batch),
        "causal": "bottom-right",
        "window": (_WINDOW, None),
        "alibi_slopes": _empty(heads),
        "softcap": 50.0,
        "sinks": _empty(heads),
        "dropout": 0.1,
        "seed": _integers(),
    }


# By name: the shape, the options, and which gradients are wanted.
SETS: dict[str, tuple[tuple[int, int, int, int], Callable[..., dict[str, Any]], Wanted]] = {
    "none": (_LANGUAGE, lambda shape: {}, Wanted()),
    "bias": (
        _VISION,
        lambda shape: {
            "bias": _empty(shape[1], shape[3], shape[3]),
            "lengths": _integers(shape[0]),
        },
        Wanted(bias=True),
    ),
    "banded": (
        _VISION,
        lambda shape: {
            "bias": _empty(shape[1], shape[3], shape[3]),
            "causal": "bottom-right",
            "window": (64, None),
        },
        Wanted(bias=True),
    ),
    "vision": (_VISION, _vision, Wanted(table=True, scales=True)),
    "language": (_LANGUAGE, _language, Wanted(slopes=True, sinks=True)),
    "shift": (
        _SPEECH,
        lambda shape: {"lengths": _integers(shape[0])},
        Wanted(relative=True, distances=True),
    ),
    "packed": (
        _PACKED,
        lambda shape: {
            "offsets": _integers(_ITEMS + 1),
            "key_offsets": _integers(_ITEMS + 1),
            "causal": "bottom-right",
        },
        Wanted(),
    ),
}
# The sets that each kernel is compiled for.
_SETS = {
    **dict.fromkeys(
        ("forward", "key_value", "query"), ("none", "bias", "vision", "language", "shift", "packed")
    ),
    "bias": ("bias", "banded"),
    "table": ("vision",),
    "distance": ("shift",),
    "delta": ("language",),
}


class _Shift(NamedTuple):
    """What distances add to a kernel.

    Args:
        sides: Rows that stay, beside those of the plain kernel.
        rows: Rows of the other side that a step loads more, for each of its own.
        reads: How often a step reads the rows that a tile has by distance.
        per: Whether a step is counted in "keys" or "queries".
        products: Products per chunk.
    """

    sides: int
    rows: int
    reads: int
    per: str
    products: int

    def of(self, distances: int, tile: Tile) -> float:
        """Rows that are loaded more, for each row of the step."""
        return self.rows + self.reads * distances / (tile.s if self.per == "keys" else tile.t)


_SHIFT = {
    "forward": _Shift(1, 0, 1, "keys", 1),
    "query": _Shift(2, 0, 2, "keys", 2),
    "key_value": _Shift(0, 1, 1, "queries", 1),
    # Queries, gradients and relative queries by row; keys and values by distance.
    "distance": _Shift(0, 1, 2, "queries", 2),
}


class _Recorder(Launcher):
    def __init__(self, arch: int | str, chosen: Tile | None) -> None:
        self.arch, self.chosen = arch, chosen
        self.started: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], Tile]] = {}

    def tile(self, kernel: str, request: Request) -> Tile:
        return super().tile(kernel, request) if self.chosen is None else self.chosen

    def architecture(self, query: Tensor) -> int:
        del query
        return self.arch if isinstance(self.arch, int) else 80

    def start(
        self,
        name: str,
        kernel: Any,
        programs: int,
        arguments: tuple[Any, ...],
        constants: Any,
        tile: Tile,
    ) -> None:
        del programs
        self.started[name] = kernel, arguments, constants, tile


def cases(
    arches: Sequence[int | str], dtypes: Sequence[str], widths: Sequence[int]
) -> Iterator[Case]:
    """Every kernel with every set of options that it has."""
    for arch, dtype, width, kernel in itertools.product(arches, dtypes, widths, KERNELS):
        for options in _SETS[kernel]:
            if width <= (128 if options == "shift" else 256):
                yield case(kernel, arch, dtype, width, options=options)


def case(
    kernel: str,
    arch: int | str,
    dtype: str,
    width: int,
    *,
    options: str | None = None,
    tile: Tile | None = None,
) -> Case:
    """One kernel with a set of options, with the tile of the table unless another is given."""
    options = _SETS[kernel][-1] if options is None else options
    shape = SETS[options][0]
    function, arguments, constants, used = launch_of(kernel, arch, dtype, width, options, tile)
    signature, found, aligned = specialised(function.arg_names, arguments)
    loaded, minimal, unfused, flops = traffic(kernel, shape, width, used, options)
    return Case(
        op="attention",
        kernel=f"{kernel} ({options})",
        function=function,
        arch=arch,
        dtype=dtype,
        width=width,
        signature=signature,
        constants=found | constants,
        aligned=aligned,
        warps=used.warps,
        stages=used.stages,
        tensor_cores=kernel != "delta",
        shape="x".join(str(size) for size in (*shape, width)),
        loaded=loaded,
        minimal=minimal,
        unfused=unfused,
        flops=flops,
    )


def launch_of(
    kernel: str,
    arch: int | str,
    dtype: str,
    width: int,
    options: str,
    tile: Tile | None = None,
) -> tuple[Any, tuple[Any, ...], dict[str, Any], Tile]:
    """Function, arguments, constants and tile of the launch of a kernel with a set of options."""
    shape, build, wanted = SETS[options]
    recorder = _Recorder(arch, tile)
    request = _request(shape, build(shape), dtype, width, by_distance=options == "shift")
    out, lse = launch.forward(request, recorder)
    if kernel != "forward":
        launch.backward(request, out, lse, out, lse, wanted, recorder)
    return recorder.started[kernel]


def _request(
    shape: tuple[int, int, int, int],
    options: dict[str, Any],
    dtype: str,
    width: int,
    *,
    by_distance: bool,
) -> Request:
    batch, heads, kv_heads, tokens = shape
    kind = getattr(torch, dtype)
    # Laid out as projections leave them: (B, N, H, D).
    query, key, value = (
        _empty(batch, tokens, n, width, dtype=kind).transpose(1, 2)
        for n in (heads, kv_heads, kv_heads)
    )
    found = {"scale": width**-0.5} | options
    if by_distance:
        found["relative_query"] = query
        found["distance_key"] = _empty(2 * tokens - 1, heads, width, dtype=kind).transpose(0, 1)
    return Request(query=query, key=key, value=value, lse=True, **found)


def traffic(
    kernel: str, shape: tuple[int, int, int, int], width: int, tile: Tile, options: str
) -> tuple[int, int, int, int]:
    """Bytes that tiles load and store, that the same blocks need, and that separate operations move; flops.

    A block of one side stays in registers and meets every row of the other that one of its rows may see.
    Tiles load what lies in them; the second number counts rows that are seen alone. In separate operations
    the scores are written and read once per step: product, options, softmax, and backward three times more.
    A tile of T queries and S keys meets T + S - 1 distances and loads whole chunks of them, for the gradient
    of the queries twice: once for the products and again, from the nearest cache, for the gradient.
    """
    batch, heads, _, tokens = shape
    if kernel == "delta":
        rows = batch * heads * tokens * (2 * width * 2 + 3 * 4)
        return rows, rows, rows, 0
    item = tokens // _ITEMS if options == "packed" else tokens
    reach = _WINDOW if options == "language" else None
    causal = options in ("language", "packed")
    by_keys = kernel == "key_value"
    own, step = (tile.s, tile.t) if by_keys else (tile.t, tile.s)
    seen = visited = 0
    for begin in range(0, item, own):
        end = min(begin + own, item)
        # Keys for a block of queries, or queries for a block of keys: the same band, mirrored.
        first, last = (0, end) if not by_keys else (begin, item)
        first, last = (first, last) if causal else (0, item)
        if reach is not None:
            first, last = (
                (max(first, begin - reach), last)
                if not by_keys
                else (first, min(last, end + reach))
            )
        seen += last - first
        visited += min(-(-(last - first) // step) * step, item)
    if kernel in ("bias", "table"):
        seen = visited = -(-item // own) * item
    groups = batch * heads * (tokens // item)
    sides = {"forward": 2, "query": 3, "key_value": 2, "bias": 2, "table": 2, "distance": 2}[kernel]
    stays = groups * item * width * 2 * sides
    moved = [stays + groups * rows * width * 2 * 2 for rows in (visited, seen)]
    products = {"forward": 2, "query": 3, "key_value": 4, "bias": 2, "table": 2, "distance": 2}[
        kernel
    ]
    if options == "shift":
        chunks = -(-tile.t // tile.s) + 1
        stays += groups * item * width * 2 * _SHIFT[kernel].sides
        more = groups * seen * width * 2
        moved = [
            int(bytes_ + more * _SHIFT[kernel].of(rows, tile))
            for bytes_, rows in zip(moved, (chunks * tile.s, tile.t + tile.s - 1), strict=True)
        ]
        products += chunks * _SHIFT[kernel].products
    pairs = batch * heads * tokens * item
    steps = 3 if kernel == "forward" else 6
    flops = 2 * groups * seen * own * width * products
    return moved[0], moved[1], stays + pairs * 2 * 2 * steps, flops
