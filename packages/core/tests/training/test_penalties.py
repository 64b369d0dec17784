"""What parts of a model ask of training reaches the loss of every task."""

import importlib
import inspect

import pytest

from headway.core.cli.parts import parts
from headway.core.training import Task


def own_steps() -> dict[str, str]:
    """Returns the source of ``training_step`` of every task that writes one."""
    found = {}
    for row in parts("tasks"):
        module, _, name = row["where"].partition(":")
        kind = getattr(importlib.import_module(module), name)
        if issubclass(kind, Task) and "training_step" in vars(kind):
            found[name] = inspect.getsource(kind.training_step)
    return found


STEPS = own_steps()


@pytest.mark.parametrize("name", STEPS)
def test_a_step_returns_its_loss_with_penalties(name: str) -> None:
    source = STEPS[name]
    assert "self.with_penalties(" in source or "super().training_step(" in source
