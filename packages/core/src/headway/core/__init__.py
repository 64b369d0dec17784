"""The transformer core that every headway domain is built from.

Submodules load on first use (PEP 562), so that ``headway --help`` imports neither torch nor Lightning.
"""

import importlib
from importlib import metadata
from types import ModuleType

_SUBMODULES = (
    "blocks",
    "cache",
    "embeddings",
    "explain",
    "feedforward",
    "finetune",
    "heads",
    "init",
    "layout",
    "mixers",
    "norms",
    "ops",
    "positions",
    "reduction",
    "resample",
    "stacks",
    "systems",
    "taps",
    "training",
    "weights",
)


def __getattr__(name: str) -> ModuleType | str:
    if name == "__version__":
        return metadata.version("headway")
    if name in _SUBMODULES:
        return importlib.import_module(f"headway.core.{name}")
    raise AttributeError(f"module 'headway.core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_SUBMODULES, "__version__"])
