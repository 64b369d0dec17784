"""What a domain implements to read a published format."""

import importlib
from typing import Any, Protocol

from torch import Tensor, nn

from headway.core.plugins import domains
from headway.core.weights.checkpoint import Checkpoint


class Adapter(Protocol):
    """Reads one published format."""

    name: str

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is of this format, by its configuration or by its keys."""
        ...

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that the checkpoint was made for; takes what it used out of ``overrides``."""
        ...

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Returns the tensors under our names; what has no counterpart keeps its own."""
        ...


def adapters() -> list[Adapter]:
    """Returns the adapters of all installed domains."""
    found: list[Adapter] = []
    for domain in domains().values():
        for path in domain.adapters:
            module, _, name = path.partition(":")
            found.append(getattr(importlib.import_module(module), name))
    return found
