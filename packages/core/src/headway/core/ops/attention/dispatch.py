"""Which backend takes a request, and why the others do not."""

from dataclasses import dataclass

from headway.core.errors import UserError
from headway.core.ops.attention import reference, sdpa
from headway.core.ops.attention.request import Request

BACKENDS = ("sdpa", "reference")
_JUDGES = {"sdpa": sdpa.reason_against, "reference": reference.reason_against}


class BackendError(UserError):
    """The named backend lacks something that the call asks for."""


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """The outcome of a choice between backends.

    Args:
        backend: Name of the backend that runs.
        refusals: Pairs of a backend and its reason, for those that came first and do not run.
    """

    backend: str
    refusals: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        lines = [f"attention runs on {self.backend!r}"]
        lines += [f"  not {name!r}: {reason}" for name, reason in self.refusals]
        return "\n".join(lines)


def choose(request: Request, backend: str) -> Dispatch:
    """Takes the first backend that supports the request, or the one that is named.

    Raises:
        BackendError: The named backend does not exist or lacks something.
    """
    if backend != "auto":
        if backend not in _JUDGES:
            raise BackendError(f"backend is {backend!r}; use 'auto' or one of {list(_JUDGES)}")
        reason = _JUDGES[backend](request)
        if reason is not None:
            raise BackendError(reason)
        return Dispatch(backend=backend)
    refusals: list[tuple[str, str]] = []
    for name in BACKENDS:
        reason = _JUDGES[name](request)
        if reason is None:
            return Dispatch(backend=name, refusals=tuple(refusals))
        refusals.append((name, reason))
    raise BackendError("no backend takes this call: " + "; ".join(text for _, text in refusals))
