"""The base of every headway module: it remembers the arguments that it was built with."""

import inspect
from typing import Any, Self

from torch import nn

from headway.core.changes import watch


class Module(nn.Module):
    """An ``nn.Module`` that records its bound constructor arguments in ``init_args``.

    The record is what ``save_pretrained`` writes to ``config.json``; defaults are included, so a
    checkpoint does not change its meaning when a default does.
    """

    init_args: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        """Watches the methods that change a built model (``headway.core.changes``)."""
        super().__init_subclass__(**options)
        watch(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Binds the arguments before ``__init__`` sees them."""
        module = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(module, *args, **kwargs)
        except TypeError:
            # Wrong arguments: __init__ is about to say so. No arguments: copy and pickle call
            # __new__ alone and restore the record with the rest of __dict__.
            return module
        bound.apply_defaults()
        record = dict(bound.arguments)
        del record[next(iter(record))]  # self
        # nn.Module.__setattr__ would register modules, and works only after __init__.
        module.__dict__["init_args"] = record
        return module
