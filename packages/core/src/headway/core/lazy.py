"""Names of a package that load on first use: reading a table or a model must not load Lightning."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazily(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the ``__getattr__`` of a package some of whose names load when they are asked for.

    The package imports the same names under ``TYPE_CHECKING``, for type checkers and for the import linter.

    Args:
        package: Its ``__name__``.
        names: The module of each name, relative to the package.
    """

    def load(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return load
