"""How a domain announces itself: names only, so that listing the domains imports nothing heavy."""

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from headway.core.errors import UserError

GROUP = "headway.domains"


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A command of the ``headway`` program.

    Args:
        module: Import path of a module with ``configure(parser)`` and ``run(args) -> int``.
        help: One line for ``headway --help``.
    """

    module: str
    help: str


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What one domain package offers, as strings that are imported only when they are used.

    Args:
        name: Name of the domain and of the pip extra that installs it.
        help: One line that says what the domain holds.
        verbs: Commands by name. ``predict``, ``explain`` and ``export`` are reached through the core
            verbs of the same name, which choose the domain by the checkpoint.
        adapters: ``module:object`` of each weight adapter, or of a tuple of them (see
            ``headway.core.weights``).
        models: ``module:function`` of each function that returns the names that ``headway ls models`` shows.
        moves: Today's import path of modules and classes by the one that they had once (see
            ``headway.core.moves``).
        requires: Third-party modules that the extra installs and that a verb or a recipe needs.
    """

    name: str
    help: str
    verbs: Mapping[str, Verb] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    moves: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()


def refuse_foreign_package(name: str, path: str) -> None:
    """Raises if ``headway.<name>`` is no installed part of headway; nothing is imported for that.

    ``headway`` is a namespace: any folder of that name on the path adds to it, one in the working directory
    too. What a checkpoint names may only come from core and from the domains that entry points announce.

    Args:
        name: Name of the package below ``headway``.
        path: What was asked for, for the message.

    Raises:
        UserError: If it is not installed, or stands in the working directory in place of what is.
    """
    announced = {entry.value.split(".")[1] for entry in _announced()}
    if name != "core" and name not in announced:
        raise UserError(
            f"the configuration names {path}, and headway.{name} is no installed part of headway"
        )
    own = Path(__file__).resolve().parents[1]  # the folder "headway" that core stands in
    here = (Path.cwd() / "headway").resolve()
    places = [Path(place).resolve() for place in importlib.import_module("headway").__path__]
    first = next((place for place in places if (place / name / "__init__.py").is_file()), None)
    if first == here and here != own:
        raise UserError(
            f"the configuration names {path}, which is found in the working directory ({here / name}) "
            "and not where headway is installed; work in another folder"
        )


@functools.cache
def _announced() -> tuple[EntryPoint, ...]:
    # Reading what all installed packages announce takes as long as building a small model.
    return tuple(entry_points(group=GROUP))


def domains() -> dict[str, Domain]:
    """Returns every installed domain by name."""
    found = (entry.load() for entry in _announced())
    return {domain.name: domain for domain in sorted(found, key=lambda domain: domain.name)}
