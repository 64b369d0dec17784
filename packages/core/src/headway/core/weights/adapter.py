"""What a domain implements to read a published format."""

import importlib
from typing import Any, Protocol

from torch import nn

from headway.core.plugins import domains
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table


class Adapter(Protocol):
    """Reads one published format.

    Besides what stands here an adapter may have:

    - ``defaults``: what the published class takes for each key that config.json leaves out. Keys that
      ``build`` did not read are then compared with them, and a file that differs is refused by name. Every
      adapter that reads a config.json of its own has it.
    - ``harmless``: keys that change no answer whatever they say, such as rates of training.
    - ``architectures``: the published classes that it reads; a file that names another one is refused,
      whatever its ``model_type``.
    - ``files(checkpoint, model)``: the JSON files of the format that a changed model needs otherwise, by name
      (``config.json`` with another number of classes), for ``save_published``.
    - ``companions(checkpoint)``: names of further files that ``build`` reads, for ``save_published``.
    - ``may_miss``: prefixes (our names) of parameters that a checkpoint need not hold, such as the head.
    """

    name: str

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is of this format, by its configuration or by its keys."""
        ...

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that the checkpoint was made for; takes what it used out of ``overrides``."""
        ...

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns names and forms of the tensors, theirs beside ours; a tensor without a rule is an error."""
        ...


def adapters() -> list[Adapter]:
    """Returns the adapters of all installed domains."""
    found: list[Adapter] = []
    for domain in domains().values():
        for path in domain.adapters:
            module, _, name = path.partition(":")
            named = getattr(importlib.import_module(module), name)
            # Several domains may name the same ones.
            found += [
                one
                for one in (named if isinstance(named, tuple) else (named,))
                if not any(one is other for other in found)
            ]
    return found
