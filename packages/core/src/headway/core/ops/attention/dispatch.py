"""Which backend takes a request, and why the others do not."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention import cpu_backend, reference, sdpa, triton_backend
from headway.core.ops.attention.request import Request, same_size
from headway.core.private_torch import in_transform

_JUDGES: dict[str, Callable[[Request], str | None]] = {
    "sdpa": sdpa.reason_against,
    "triton": triton_backend.reason_against,
    "native": cpu_backend.reason_against,
    "reference": reference.reason_against,
}


class BackendError(UserError):
    """The named backend lacks something that the call asks for."""


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """The outcome of a choice between backends.

    Args:
        backend: Name of the backend that runs.
        refusals: Pairs of a backend and its reason, for all that could not have run.
    """

    backend: str
    refusals: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        lines = [f"attention runs on {self.backend!r}"]
        lines += [f"  not {name!r}: {reason}" for name, reason in self.refusals]
        return "\n".join(lines)


def choose(request: Request, backend: str) -> str:
    """Takes the first backend that supports the request, or the one that is named.

    Raises:
        BackendError: The named backend does not exist or lacks something.
    """
    if backend == "auto":
        return next(name for name in _order(request) if _JUDGES[name](request) is None)
    if backend not in _JUDGES:
        raise BackendError(f"backend is {backend!r}; use 'auto' or one of {list(_JUDGES)}")
    reason = _JUDGES[backend](request)
    if reason is not None:
        raise BackendError(reason)
    return backend


def explain(request: Request, backend: str) -> Dispatch:
    """The choice, and what every backend that refuses has to say.

    Raises:
        BackendError: The named backend does not exist or lacks something.
    """
    reasons = {name: judge(request) for name, judge in _JUDGES.items()}
    refusals = tuple((name, reason) for name, reason in reasons.items() if reason is not None)
    return Dispatch(backend=choose(request, backend), refusals=refusals)


def _order(request: Request) -> tuple[str, ...]:
    """Backends by preference; the last one takes everything."""
    if request.query.is_cpu:
        if not torch.compiler.is_compiling() and in_transform():
            # PyTorch's CPU kernels have no rule for vmap, nor a gradient of a bias inside it.
            return ("reference",)
        # Interpreted kernels are for tests, which name them.
        if cpu_backend.is_fastest(request):
            return ("native", "sdpa", "reference")
        return ("sdpa", "reference")
    if _native_to_sdpa(request):
        return ("sdpa", "triton", "reference")
    return ("triton", "sdpa", "reference")


def _native_to_sdpa(request: Request) -> bool:
    """Whether PyTorch's GPU kernels take the call as it is.

    Otherwise it would make a mask or bias of the size of the scores for them, or compute without them.
    """
    made = (request.mask, request.lengths, request.offsets, request.window, request.alibi_slopes)
    more = (request.table, request.softcap, request.sinks, request.distance_key)
    if any(x is not None for x in (*made, *more)):
        return False
    if isinstance(request.scale, Tensor) or request.lse:
        return False
    if request.dropout > 0.0 and request.seed is not None:
        return False
    if request.bias is not None:
        given = not (request.bias.requires_grad and torch.is_grad_enabled())
        return given and request.causal is False
    _, _, queries, keys = request.shape
    return bool(request.causal != "bottom-right" or same_size(queries, keys))
