"""What has to be installed for a command, said as the extra that brings it."""

import importlib
import importlib.util
import re
from collections.abc import Iterable
from types import ModuleType

from headway.core.errors import UserError
from headway.core.plugins import Domain, domains

_TRAINING = ("torch", "lightning", "jsonargparse")
_NAMED = re.compile(r"headway\.(\w+)\.")

# What recipes name by a short class name lives in these packages.
_CORE_ROOMS = (
    "norms",
    "positions",
    "feedforward",
    "embeddings",
    "mixers",
    "blocks",
    "resample",
    "stacks",
    "heads",
    "finetune",
    "training",
)
_DOMAIN_ROOMS = ("layers", "models", "data", "tasks")


def domains_named(texts: Iterable[str]) -> list[Domain]:
    """Returns the domains whose classes or recipes are named; all of them where none is.

    Args:
        texts: Names of recipes as ``vision/...``, and contents of configurations.
    """
    offered = domains()
    named = set()
    for text in texts:
        named |= {match.group(1) for match in _NAMED.finditer(text)}
        named.add(text.partition("/")[0])
    found = [domain for name, domain in offered.items() if name in named]
    return found or list(offered.values())


def need_training(wanted: list[Domain]) -> None:
    """Raises if Lightning, or what the named domain needs, is missing.

    Args:
        wanted: The domains of a recipe; several if it names none.
    """
    missing = [name for name in _TRAINING if not _installed(name)]
    if len(wanted) == 1:
        missing += [n for n in wanted[0].requires if n not in missing and not _installed(n)]
    if missing:
        extras = [f'pip install "headway[{domain.name}]"' for domain in wanted]
        raise UserError(
            f"training needs {', '.join(missing)}, not installed: {' or '.join(extras)}"
        )


def import_rooms(wanted: list[Domain]) -> None:
    """Imports what recipes may name, so that a short class name is known.

    Args:
        wanted: Domains of the recipe. What cannot be imported of a domain that the recipe may not need is
            left out.
    """
    for room in _CORE_ROOMS:
        _import(f"headway.core.{room}")
    for domain in wanted:
        if len(wanted) > 1 and not all(_installed(name) for name in domain.requires):
            continue
        for room in _DOMAIN_ROOMS:
            try:
                _import(f"headway.{domain.name}.{room}")
            except ModuleNotFoundError as error:
                raise UserError(
                    f"{domain.name} needs {error.name}, which is not installed: "
                    f'pip install "headway[{domain.name}]"'
                ) from error


def _import(name: str) -> ModuleType | None:
    try:
        room = importlib.import_module(name)
        # What loads on first use is known by its short name only once it is there.
        for exported in getattr(room, "__all__", ()):
            getattr(room, exported)
        return room
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
