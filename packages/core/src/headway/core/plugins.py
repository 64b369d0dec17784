"""How a domain announces itself: names only, so that listing the domains imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points

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
        adapters: ``module:object`` of each weight adapter (see ``headway.core.weights``).
        models: ``module:function`` that returns the names that ``headway ls models`` shows.
        requires: Third-party modules that the extra installs and that a verb or a recipe needs.
    """

    name: str
    help: str
    verbs: Mapping[str, Verb] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    models: str | None = None
    requires: tuple[str, ...] = ()


def domains() -> dict[str, Domain]:
    """Returns every installed domain by name."""
    found = (entry.load() for entry in entry_points(group=GROUP))
    return {domain.name: domain for domain in sorted(found, key=lambda domain: domain.name)}
