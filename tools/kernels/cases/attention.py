"""The kernels of `ops.attention`, as the package launches them for requests of typical shapes."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from aot import Case
from recorder import specialised
from torch import Tensor

from headway.core.ops.attention.request import Request, make_request
from headway.core.ops.attention.triton import launch
from headway.core.ops.attention.triton.launch import Launcher, Wanted
from headway.core.ops.kernels.tiles import Tile

KERNELS = ("forward", "key_value", "query", "bias", "table", "delta")
# Batch, heads, key heads and tokens of the shapes that bytes are stated for.
_VISION = (64, 12, 12, 197)
_LANGUAGE = (4, 32, 8, 2048)


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
        "causal": True,
        "window": (512, None),
        "alibi_slopes": _empty(heads),
        "softcap": 50.0,
        "sinks": _empty(heads),
        "dropout": 0.1,
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
    "vision": (_VISION, _vision, Wanted(table=True, scales=True)),
    "language": (_LANGUAGE, _language, Wanted(slopes=True, sinks=True)),
    "packed": (
        (1, 32, 8, 8192),
        lambda shape: {"offsets": _integers(17), "causal": True},
        Wanted(),
    ),
}
# The sets that each kernel is compiled for.
_SETS = {"bias": ("bias",), "table": ("vision",), "delta": ("language",)}


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
        if width <= (256 if kernel == "forward" else 128):
            for options in _SETS.get(kernel, tuple(SETS)):
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
    options = _SETS.get(kernel, ("language",))[0] if options is None else options
    shape, build, wanted = SETS[options]
    recorder = _Recorder(arch, tile)
    request = _request(shape, build(shape), dtype, width)
    # No tile is known for the backward of a width that only the forward takes.
    out, lse = launch.forward(request, recorder)
    if kernel != "forward":
        launch.backward(request, out, lse, out, lse, wanted, recorder)
    function, arguments, constants, used = recorder.started[kernel]
    signature, found, aligned = specialised(function.arg_names, arguments)
    loaded, minimal, unfused, flops = traffic(kernel, shape, width, used, dtype, options)
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


def _request(
    shape: tuple[int, int, int, int], options: dict[str, Any], dtype: str, width: int
) -> Request:
    batch, heads, kv_heads, tokens = shape
    kind = getattr(torch, dtype)
    # Laid out as projections leave them: (B, N, H, D).
    query, key, value = (
        _empty(batch, tokens, n, width, dtype=kind).transpose(1, 2)
        for n in (heads, kv_heads, kv_heads)
    )
    defaults: dict[str, Any] = dict.fromkeys(
        ("bias", "mask", "lengths", "offsets", "key_offsets", "max_length", "window", "scale")
    ) | dict.fromkeys(("alibi_slopes", "table", "index", "softcap", "sinks"))
    seed = _integers() if options.get("dropout") else None
    return make_request(
        query,
        key,
        value,
        **(defaults | {"causal": False, "dropout": 0.0, "lse": True} | options | {"seed": seed}),
    )


def traffic(
    kernel: str,
    shape: tuple[int, int, int, int],
    width: int,
    tile: Tile,
    dtype: str,
    options: str,
) -> tuple[int, int, int, int]:
    """Bytes that tiles move, that any algorithm must move and that separate operations move; and flops.

    Tiles that read the same rows at about the same time find them in the level-2 cache, so that keys and
    values of a head count once in the first number, too; what does not fit there is counted per tile.
    """
    return 0, 0, 0, 0
