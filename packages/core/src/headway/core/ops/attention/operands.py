"""The arguments of the fused operators: their order, said once, and how a request becomes them."""

from typing import Any

import torch
from torch import Tensor

from headway.core.ops.attention.request import Causal, Request

ALWAYS = ("query", "key", "value")
# What has a gradient, by place among the arguments.
DIFFERENTIABLE = (
    *ALWAYS,
    "bias",
    "alibi_slopes",
    "table",
    "scales",
    "sinks",
    "relative_query",
    "distance_key",
)
TENSORS = (*DIFFERENTIABLE, "mask", "lengths", "offsets", "key_offsets", "index", "seed")
NUMBERS = {
    "scale": "float",
    "causal": "str",
    "left": "SymInt?",
    "right": "SymInt?",
    "softcap": "float?",
    "dropout": "float",
}
NAMES = (*TENSORS, *NUMBERS)
SCHEMA = ", ".join(
    [f"Tensor{'' if name in ALWAYS else '?'} {name}" for name in TENSORS]
    + [f"{kind} {name}" for name, kind in NUMBERS.items()]
)
"""The arguments as torch.library writes them; results follow."""

_CAUSAL: dict[str, Causal] = {
    "none": False,
    "bottom-right": "bottom-right",
    "top-left": "top-left",
}


def arguments(request: Request) -> tuple[Any, ...]:
    """A request as the arguments of the operators, in the order of ``NAMES``."""
    scale, per_head = request.scale, isinstance(request.scale, Tensor)
    left, right = request.window or (None, None)
    own = {
        "scales": scale if per_head else None,
        "scale": 1.0 if per_head else scale,
        "seed": _seed(request),
        "causal": request.causal or "none",
        "left": left,
        "right": right,
    }
    return tuple(own[name] if name in own else getattr(request, name) for name in NAMES)


def request_of(*values: Any) -> Request:
    """The arguments of the operators as a request again."""
    fields = dict(zip(NAMES, values, strict=True))
    scales, left, right = (fields.pop(name) for name in ("scales", "left", "right"))
    fields["scale"] = fields["scale"] if scales is None else scales
    fields["causal"] = _CAUSAL[fields["causal"]]
    fields["window"] = None if left is None and right is None else (left, right)
    return Request(**fields, lse=True)


def _seed(request: Request) -> Tensor | None:
    """The seed on the device, drawn from torch's generator if none was given."""
    if request.dropout == 0.0:
        return None
    device = request.query.device
    if request.seed is None:
        return torch.randint(2**32, (), dtype=torch.int64, device=device)
    if isinstance(request.seed, Tensor):
        return request.seed
    return torch.full((), request.seed & 0xFFFFFFFF, dtype=torch.int64, device=device)
