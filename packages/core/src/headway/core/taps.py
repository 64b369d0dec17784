"""Taps: modules report named intermediates to whoever listens, and to nobody else.

A mixer calls ``tap(self, "keys", keys)``. Without a listener that is one look at a context variable;
inside ``torch.compile`` and ``torch.export`` it is nothing at all, and ``listen`` makes compiled models
run eagerly for as long as it is open, so a listener is never silently missed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Listener = Callable[[str, str, Tensor], None]


@dataclass(frozen=True)
class _Listening:
    names: dict[nn.Module, str]
    taps: frozenset[str]
    listener: Listener


_listening: ContextVar[tuple[_Listening, ...]] = ContextVar("headway_taps", default=())


def tap(module: nn.Module, name: str, value: Tensor) -> None:
    """Reports an intermediate tensor of ``module`` under ``name`` to those who listen."""
    if torch.compiler.is_compiling():
        return
    for entry in _listening.get():
        if name in entry.taps and module in entry.names:
            entry.listener(entry.names[module], name, value)


def wants(module: nn.Module, name: str) -> bool:
    """Whether somebody listens to ``name`` of ``module``; ask before computing what is not free."""
    if torch.compiler.is_compiling():
        return False
    return any(name in entry.taps and module in entry.names for entry in _listening.get())


@contextmanager
def listen(model: nn.Module, *taps: str, listener: Listener) -> Iterator[None]:
    """Calls ``listener(module_name, tap, value)`` for every tap of ``model`` inside the block.

    The values are the live tensors of the graph: ``value.retain_grad()`` gives their gradients.

    Args:
        model: The model to listen to; modules are named as in ``model.named_modules()``.
        *taps: Names of the taps, such as ``"weights"``.
        listener: Called for each report, in the order of computation.
    """
    names = {module: name.removeprefix("_orig_mod.") for name, module in model.named_modules()}
    token = _listening.set((*_listening.get(), _Listening(names, frozenset(taps), listener)))
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        _listening.reset(token)


@contextmanager
def record(model: nn.Module, *taps: str) -> Iterator[dict[str, dict[str, list[Tensor]]]]:
    """Collects taps in a dictionary ``{tap: {module_name: [value, ...]}}``.

    Example:
        >>> with record(model, "weights") as taken:  # doctest: +SKIP
        ...     model(images)
        >>> weights = taken["weights"]["encoder.blocks.0.mixer.function"][0]  # doctest: +SKIP
    """
    taken: dict[str, dict[str, list[Tensor]]] = {name: {} for name in taps}

    def keep(module_name: str, name: str, value: Tensor) -> None:
        taken[name].setdefault(module_name, []).append(value)

    with listen(model, *taps, listener=keep):
        yield taken
