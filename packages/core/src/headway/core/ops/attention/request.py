"""One call of attention as a checked value: what every backend receives and judges."""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention.relative_checks import (
    check_distances,
    check_relative,
    shape_text,
)
from headway.core.ops.kernels.operators import autocast_type
from headway.core.ops.tracing import readable

Causal = Literal[False, "bottom-right", "top-left"]
Window = tuple[int | None, int | None]
_ON_ONE_DEVICE = (
    "bias",
    "relative_query",
    "relative_key",
    "distance_key",
    "mask",
    "lengths",
    "offsets",
    "key_offsets",
    "alibi_slopes",
    "table",
    "index",
    "sinks",
    "scale",
)


class Options(TypedDict, total=False):
    """What `headway.core.ops.attention` takes by name, and every function beside it."""

    bias: Tensor | None
    mask: Tensor | None
    lengths: Tensor | None
    offsets: Tensor | None
    key_offsets: Tensor | None
    max_length: int | None
    causal: bool | str
    window: int | Window | None
    scale: float | Tensor | None
    alibi_slopes: Tensor | None
    table: Tensor | None
    index: Tensor | None
    softcap: float | None
    sinks: Tensor | None
    dropout: float
    seed: int | None
    relative_query: Tensor | None
    relative_key: Tensor | None
    distance_key: Tensor | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """The arguments of one call, normalised; see `headway.core.ops.attention` for their meaning.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        scale: Factor of the scores, one number or one per head.
        bias: Added to the scores.
        mask: True where a query may attend.
        lengths: Number of valid keys per item.
        offsets: Bounds of the packed items among the queries.
        key_offsets: Bounds of the packed items among the keys; set whenever offsets is.
        max_length: Static upper bound of the packed lengths.
        causal: False or the corner at which the causal diagonal ends.
        window: Reach to the left and to the right; None is without limit.
        alibi_slopes: Penalty per step of distance, per head.
        table: Bias entries by number and head.
        index: Which entry of the table each pair of query and key takes.
        softcap: Bound of the scaled scores, before anything is added.
        sinks: One extra score per head that takes weight and gives no value.
        dropout: Probability that a weight is dropped.
        seed: Makes the dropped weights a function of seed and position; a tensor holds one number.
        lse: Whether the log-sum-exp is wanted too.
        relative_query: Queries of a second product that is added to the scores.
        relative_key: Keys of that product.
        distance_key: Keys of that product by distance, in place of `relative_key`.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float | Tensor
    bias: Tensor | None = None
    mask: Tensor | None = None
    lengths: Tensor | None = None
    offsets: Tensor | None = None
    key_offsets: Tensor | None = None
    max_length: int | None = None
    causal: Causal = False
    window: Window | None = None
    alibi_slopes: Tensor | None = None
    table: Tensor | None = None
    index: Tensor | None = None
    softcap: float | None = None
    sinks: Tensor | None = None
    dropout: float = 0.0
    seed: int | Tensor | None = None
    lse: bool = False
    relative_query: Tensor | None = None
    relative_key: Tensor | None = None
    distance_key: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, heads, queries and keys: the shape of the scores."""
        batch, heads, queries, _ = self.query.shape
        return batch, heads, queries, self.key.shape[2]


def make_request(
    query: Tensor, key: Tensor, value: Tensor, *, lse: bool = False, **options: Unpack[Options]
) -> Request:
    """Checks the arguments of a call and normalises them.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        lse: Whether the log-sum-exp is wanted too.
        options: As in `headway.core.ops.attention`.

    Raises:
        UserError: An argument cannot be used; the message names it, the limit and the remedy.
    """
    query, key, value = _autocast(query, key, value)
    _check_tensors(query, key, value)
    fields: dict[str, Any] = dict(options)
    fields["causal"] = _causal(options.get("causal", False))
    fields["window"] = reach(options.get("window"))
    if fields.get("scale") is None:
        fields["scale"] = query.shape[3] ** -0.5
    offsets, key_offsets = options.get("offsets"), options.get("key_offsets")
    if offsets is None and key_offsets is not None:
        raise UserError("key_offsets was given without offsets; pass the queries' offsets too")
    if offsets is not None:
        if options.get("lengths") is not None:
            raise UserError("lengths and offsets were both given; offsets already end each item")
        fields["key_offsets"] = _check_packed(query, key, offsets, key_offsets)
    for name in ("relative_query", "relative_key", "distance_key"):
        if fields.get(name) is not None:
            (fields[name],) = _autocast(fields[name])
    request = Request(query=query, key=key, value=value, lse=lse, **fields)
    _check_options(request)
    return request


def _check_options(request: Request) -> None:
    scores = request.shape
    batch, heads, _, keys = scores
    bias, mask, scale = request.bias, request.mask, request.scale
    if bias is not None:
        _check_broadcast("bias", bias, scores)
        if not bias.is_floating_point():
            raise UserError(f"bias has dtype {bias.dtype}; pass a boolean one as mask=")
    if mask is not None:
        _check_broadcast("mask", mask, scores)
        if mask.dtype != torch.bool:
            raise UserError(f"mask has dtype {mask.dtype}, not torch.bool; pass scores as bias=")
    if request.lengths is not None:
        _check_lengths(request.lengths, batch, keys)
    if request.max_length is not None and request.max_length < 1:
        raise UserError(f"max_length is {request.max_length}; it must be at least 1")
    if isinstance(scale, Tensor) and scale.shape != (heads,):
        raise UserError(
            f"scale has shape {shape_text(scale)}; use a number or one per head ({heads},)"
        )
    for name in ("alibi_slopes", "sinks"):
        tensor = getattr(request, name)
        if tensor is not None and tensor.shape != (heads,):
            raise UserError(f"{name} has shape {shape_text(tensor)}; use one per head ({heads},)")
    if (request.table is None) != (request.index is None):
        raise UserError("table and index belong together; pass both or neither")
    if request.table is not None and request.index is not None:
        _check_table(request.table, request.index, scores)
    if request.softcap is not None and request.softcap <= 0:
        raise UserError(f"softcap is {request.softcap}; it must be positive, or None for no cap")
    if not 0.0 <= request.dropout < 1.0:
        raise UserError(f"dropout is {request.dropout}; it must lie in [0, 1)")
    _check_second_product(request)
    device = request.query.device
    for name in _ON_ONE_DEVICE:
        tensor = getattr(request, name)
        if tensor is not None and isinstance(tensor, Tensor) and tensor.device != device:
            raise UserError(
                f"{name} is on {tensor.device} and query on {device}; move it with .to()"
            )


def _check_second_product(request: Request) -> None:
    query, key = request.query, request.key
    rows, columns, distances = request.relative_query, request.relative_key, request.distance_key
    if columns is not None and distances is not None:
        raise UserError(
            "relative_key and distance_key were both given; one product has one of them"
        )
    if (rows is None) != (columns is None and distances is None):
        raise UserError(
            "relative_query and relative_key (or distance_key) belong together; pass both or neither"
        )
    if rows is not None and columns is not None:
        check_relative(query, key, rows, columns)
    if rows is not None and distances is not None:
        own_offsets = request.key_offsets is not request.offsets
        check_distances(query, key, rows, distances, own_offsets)


def same_size(first: int, second: int) -> bool:
    """Whether two sizes are surely equal."""
    # A compiler says of its free sizes, too, that they are of type int.
    if not torch.compiler.is_compiling() and isinstance(first, int) and isinstance(second, int):
        return first == second
    # While exporting, a comparison of two free sizes would tie them together.
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(first == second)


def _causal(causal: bool | str) -> Causal:
    if causal not in (False, True, "bottom-right", "top-left"):
        raise UserError(f"causal is {causal!r}; use False, True, 'bottom-right' or 'top-left'")
    if causal is False:
        return False
    return "top-left" if causal == "top-left" else "bottom-right"


def reach(window: int | Window | None) -> Window | None:
    """Returns how far a window reaches to either side, in tokens; None is without limit.

    Raises:
        UserError: If a reach is negative.
    """
    if window is None:
        return None
    left, right = (window, window) if isinstance(window, int) else window
    for side in (left, right):
        if side is not None and side < 0:
            raise UserError(
                f"window is {window}; a reach is 0 or more tokens, or None for no limit"
            )
    return left, right


def _autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values in autocast's type, as PyTorch does for its own attention."""
    dtype = autocast_type(tensors[0])
    if dtype is None:
        return tensors
    return tuple(
        x.to(dtype) if x.is_floating_point() and x.dtype != torch.float64 else x for x in tensors
    )


def _check_tensors(query: Tensor, key: Tensor, value: Tensor) -> None:
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.dim() != 4:
            raise UserError(
                f"{name} has shape {shape_text(tensor)}; use (batch, heads, tokens, width)"
            )
        if tensor.dtype != query.dtype:
            raise UserError(
                f"{name} is {tensor.dtype} and query is {query.dtype}; cast them to one dtype"
            )
        if tensor.device != query.device:
            raise UserError(
                f"{name} is on {tensor.device} and query on {query.device}; move it with .to()"
            )
    if not query.is_floating_point():
        raise UserError(f"query is {query.dtype}; attention needs a floating-point dtype")
    if not key.shape[:3] == value.shape[:3]:
        raise UserError(
            f"key is {shape_text(key)} and value {shape_text(value)}; only widths may differ"
        )
    if not query.shape[0] == key.shape[0]:
        raise UserError(
            f"query has batch {query.shape[0]} and key {key.shape[0]}; they must be equal"
        )
    if not query.shape[3] == key.shape[3]:
        raise UserError(
            f"query has width {query.shape[3]} and key {key.shape[3]}; they must be equal"
        )
    if query.shape[1] % key.shape[1]:
        raise UserError(
            f"{key.shape[1]} key heads do not divide {query.shape[1]} query heads; "
            "use a divisor (1 is multi-query attention)"
        )


def _check_broadcast(name: str, tensor: Tensor, target: tuple[int, ...]) -> None:
    sizes = tensor.shape
    pairs = zip(sizes, target[len(target) - len(sizes) :], strict=False)
    if len(sizes) > 4 or not all(a == b or a == 1 for a, b in pairs):
        raise UserError(
            f"{name} {shape_text(tensor)} does not broadcast to (batch, heads, queries, keys) = "
            f"{tuple(target)}; give each dimension that size or 1"
        )


def _check_lengths(lengths: Tensor, batch: int, keys: int) -> None:
    if not lengths.dim() == 1 or not lengths.shape[0] == batch:
        raise UserError(f"lengths has shape {shape_text(lengths)}; use one per item ({batch},)")
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise UserError(f"lengths has dtype {lengths.dtype}; use an integer one")
    if batch and readable(lengths):
        low, high = (int(bound) for bound in torch.aminmax(lengths))
        if low < 0 or high > keys:
            wrong = low if low < 0 else high
            raise UserError(
                f"lengths holds {wrong}; each must lie in 0..{keys}, the keys there are"
            )


def _check_packed(
    query: Tensor, key: Tensor, offsets: Tensor, key_offsets: Tensor | None
) -> Tensor:
    if not query.shape[0] == 1:
        raise UserError(f"packed input has batch {query.shape[0]}; with offsets it must be 1")
    if key_offsets is None:
        if not query.shape[2] == key.shape[2]:
            raise UserError(
                f"{query.shape[2]} packed queries and {key.shape[2]} keys share one offsets; "
                "pass key_offsets for the keys"
            )
        key_offsets = offsets
    for name, tensor in (("offsets", offsets), ("key_offsets", key_offsets)):
        if tensor.dim() != 1 or tensor.is_floating_point() or tensor.dtype == torch.bool:
            raise UserError(f"{name} must be a vector of integers, 0 first and the total last")
    if not offsets.shape == key_offsets.shape:
        raise UserError(
            f"offsets has {offsets.shape[0]} bounds and key_offsets {key_offsets.shape[0]}; "
            "both must cut out the same number of items"
        )
    return key_offsets


def _check_table(table: Tensor, index: Tensor, scores: tuple[int, int, int, int]) -> None:
    batch, heads, queries, keys = scores
    if table.dim() != 2 or not table.shape[1] == heads:
        raise UserError(
            f"table has shape {shape_text(table)}; use (entries, heads) with {heads} heads"
        )
    if index.is_floating_point() or index.dtype == torch.bool:
        raise UserError(f"index has dtype {index.dtype}; use an integer one")
    if index.dim() not in (2, 3) or not index.shape[-2:] == (queries, keys):
        raise UserError(
            f"index has shape {shape_text(index)}; use ({queries}, {keys}) or "
            f"({batch}, {queries}, {keys})"
        )
    if index.dim() == 3 and not (index.shape[0] == batch or index.shape[0] == 1):
        raise UserError(f"index has batch {index.shape[0]}; use {batch} or 1")
