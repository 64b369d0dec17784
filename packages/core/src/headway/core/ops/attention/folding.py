"""The fused operators under `torch.vmap`: the mapped axis becomes part of the batch where it can."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headway.core.ops.attention.operands import NAMES

_PLACES = {name: place for place, name in enumerate(NAMES)}


def _places(*names: str) -> tuple[int, ...]:
    return tuple(_PLACES[name] for name in names)


_WITH_BATCH = _places("query", "key", "value", "relative_query", "lengths")
# Broadcast to the batch, with the number of their axes.
_PLANES = {_PLACES["bias"]: 4, _PLACES["mask"]: 4, _PLACES["index"]: 3}
# What belongs to heads, offsets of a batch of one, draws at places in the batch.
_PER_CALL = _places(
    "alibi_slopes", "table", "scales", "sinks", "distance_key", "offsets", "key_offsets", "seed"
)
_OFFSETS, _SEED = _places("offsets", "seed")
_ARGUMENTS = len(NAMES)


def fold_forward(
    operator: Callable[..., tuple[Tensor, ...]],
    info: Any,
    in_dims: tuple[int | None, ...],
    *arguments: Any,
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Maps the forward operator in one call, or in one for each member where that cannot be."""
    if not _folds(in_dims, arguments):
        return _each(operator, info, in_dims, *arguments)
    found = operator(*_folded(info.batch_size, in_dims, arguments))
    return tuple(x.unflatten(0, (info.batch_size, -1)) for x in found), (0,) * len(found)


def fold_backward(
    operator: Callable[..., tuple[Tensor, ...]],
    info: Any,
    in_dims: tuple[int | None, ...],
    *arguments: Any,
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Maps the backward operator; gradients that are summed over the batch need one call each."""
    *rows, wanted = arguments[_ARGUMENTS:]
    if any(wanted) or not _folds(in_dims, arguments):
        return _each(operator, info, in_dims, *arguments)
    size = info.batch_size
    more = [
        None if x is None else _with_batch(x, dim, size)
        for x, dim in zip(rows, in_dims[_ARGUMENTS:], strict=False)
    ]
    found = operator(*_folded(size, in_dims, arguments[:_ARGUMENTS]), *more, wanted)
    grads = [x.unflatten(0, (size, -1)) for x in found[:3]]
    # An empty gradient per member, too.
    grads += [x.expand(size, 0) for x in found[3:]]
    return tuple(grads), (0,) * len(grads)


def _folds(in_dims: tuple[int | None, ...], arguments: tuple[Any, ...]) -> bool:
    packed_or_drawn = arguments[_OFFSETS] is not None or arguments[_SEED] is not None
    return not packed_or_drawn and all(in_dims[place] is None for place in _PER_CALL)


def _folded(size: int, in_dims: tuple[int | None, ...], arguments: tuple[Any, ...]) -> list[Any]:
    """The arguments with the mapped axis in front of the batch and merged with it."""
    folded = list(arguments)
    query, dim = arguments[0], in_dims[0]
    batch = query.shape[0] if dim is None else query.movedim(dim, 0).shape[1]
    for place in _WITH_BATCH:
        if arguments[place] is not None:
            folded[place] = _with_batch(arguments[place], in_dims[place], size)
    for place, axes in _PLANES.items():
        plane, dim = arguments[place], in_dims[place]
        if plane is None or (dim is None and (plane.dim() < axes or plane.shape[0] == 1)):
            continue
        plane = plane[None] if dim is None else plane.movedim(dim, 0)
        while plane.dim() < axes + 1:
            plane = plane[:, None]
        folded[place] = plane.expand(size, batch, *plane.shape[2:]).flatten(0, 1)
    return folded


def _with_batch(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    if dim is None:
        return tensor.expand(size, *tensor.shape).flatten(0, 1)
    return tensor.movedim(dim, 0).flatten(0, 1)


def _each(
    operator: Callable[..., tuple[Tensor, ...]],
    info: Any,
    in_dims: tuple[int | None, ...],
    *arguments: Any,
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    found = [
        operator(
            *(
                x if dim is None or not isinstance(x, Tensor) else x.select(dim, n)
                for x, dim in zip(arguments, in_dims, strict=True)
            )
        )
        for n in range(info.batch_size)
    ]
    stacked = tuple(torch.stack(parts) for parts in zip(*found, strict=True))
    return stacked, (0,) * len(stacked)
