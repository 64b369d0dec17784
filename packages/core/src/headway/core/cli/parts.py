"""Parts of headway by kind, read from the source without importing it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from headway.core.systems import exported, installed_packages, modules


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What belongs to a kind: descendants of a class, what a room of core exports, or both.

    Args:
        base: Name of the class that all descend from; None for any.
        room: Room of core that exports them; None for all rooms and domains.
    """

    base: str | None = None
    room: str | None = None


KINDS = {
    "mixers": Kind(base="TokenMixer"),
    "feedforwards": Kind(base="FeedForward"),
    "positions": Kind(room="positions"),
    "norms": Kind(room="norms"),
    "blocks": Kind(base="Sublayer", room="blocks"),
    "resamplers": Kind(base="Sublayer", room="resample"),
    "heads": Kind(room="heads"),
    "optimizers": Kind(base="OptimizerFactory"),
    "schedules": Kind(base="ScheduleFactory"),
    "datasets": Kind(base="DataModule"),
    "tasks": Kind(base="Task"),
}


@dataclass
class _Class:
    """What the source says about a class."""

    name: str
    module: str
    about: str
    bases: list[str]
    methods: set[str] = field(default_factory=set)
    abstract: set[str] = field(default_factory=set)


def parts(kind: str) -> list[dict[str, Any]]:
    """Returns name, one line and place of every part of a kind that can be built.

    Args:
        kind: A key of ``KINDS``.
    """
    wanted = KINDS[kind]
    packages = installed_packages()
    known: dict[str, _Class] = {}
    public: list[str] | None = None
    for package, folder in packages.items():
        for module, _, tree in modules(package, folder):
            known |= {found.name: found for found in _classes(module, tree)}
            if wanted.room and module == f"headway.core.{wanted.room}":
                public = exported(tree)
    rows = []
    for name, found in sorted(known.items()):
        if name.startswith("_") or (public is not None and name not in public):
            continue
        above = _ancestors(name, known)
        if wanted.base is not None and wanted.base not in above:
            continue
        if not _unwritten(name, known) and "ABC" not in found.bases:
            where = f"{found.module}:{name}"
            rows.append({"name": name, "about": found.about, "where": where})
    return rows


def _classes(module: str, tree: ast.Module) -> Iterator[_Class]:
    return (_read(node, module) for node in tree.body if isinstance(node, ast.ClassDef))


def _read(node: ast.ClassDef, module: str) -> _Class:
    bases = [ast.unparse(base).partition("[")[0].rsplit(".", 1)[-1] for base in node.bases]
    about = (ast.get_docstring(node) or "").partition("\n")[0]
    found = _Class(node.name, module, about, bases)
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            marks = {ast.unparse(mark).rsplit(".", 1)[-1] for mark in item.decorator_list}
            (found.abstract if "abstractmethod" in marks else found.methods).add(item.name)
    return found


def _ancestors(name: str, known: dict[str, _Class]) -> set[str]:
    """Returns the names of all classes above one."""
    above: set[str] = set()
    waiting = list(known[name].bases)
    while waiting:
        base = waiting.pop()
        if base not in above:
            above.add(base)
            waiting += known[base].bases if base in known else []
    return above


def _unwritten(name: str, known: dict[str, _Class]) -> set[str]:
    """Returns the abstract methods that neither a class nor one above it implements."""
    if name not in known:
        return set()
    found = known[name]
    above = [_unwritten(base, known) for base in found.bases if base != name]
    return (set().union(*above) | found.abstract) - found.methods
