"""Which published systems are in the code: a decorator for their authors, a reader for everyone."""

import ast
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])
System = dict[str, Any]

_FIELDS = ("id", "name", "paper", "claim", "test")


def system(*, id: int | None, name: str, paper: str, claim: str, test: str) -> Callable[[T], T]:
    """Says that a class or function implements a published system; changes nothing about it.

    All arguments must be literals: ``headway ls systems`` reads them without importing.

    Args:
        id: Number in the project's list of papers, or None.
        name: Name of the system.
        paper: Its address.
        claim: What the mechanism does better, in one sentence that a test can check.
        test: File that checks the claim and fails without the mechanism.
    """
    return lambda target: target


def installed_packages() -> dict[str, Path]:
    """Returns the folders of the installed headway packages by import name, importing none of them."""
    root = importlib.util.find_spec("headway")
    found: dict[str, Path] = {}
    for place in (root.submodule_search_locations or []) if root else []:
        for folder in sorted(Path(place).iterdir()) if Path(place).is_dir() else []:
            if (folder / "__init__.py").is_file():
                # The first place on the path wins, as it does for imports.
                found.setdefault(f"headway.{folder.name}", folder)
    return dict(sorted(found.items()))


def modules(package: str, folder: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """Yields import name, file and syntax tree of every module of a package.

    Args:
        package: Import name of the package.
        folder: Where it lies.
    """
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        name = ".".join((package, *(part for part in parts if part != "__init__")))
        yield name, file, ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def exported(tree: ast.Module) -> list[str]:
    """Returns the names in ``__all__`` of a module, sorted; none if it has no such list."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return sorted(ast.literal_eval(node.value))
    return []


def read_systems(packages: dict[str, Path] | None = None) -> list[System]:
    """Returns id, name, paper, claim, test and where of every ``@system`` in the packages.

    Args:
        packages: Folders by import name; all installed ones by default.
    """
    found: list[System] = []
    for package, folder in (packages or installed_packages()).items():
        for module, file, tree in modules(package, folder):
            for path, node in _definitions(tree):
                found += [
                    {**_literals(call, file), "where": f"{module}:{path}"}
                    for call in node.decorator_list
                    if isinstance(call, ast.Call) and _called(call) == "system"
                ]
    return sorted(found, key=lambda s: (s["id"] is None, s["id"] or 0, s["name"], s["where"]))


def _definitions(
    node: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
            yield prefix + child.name, child
            yield from _definitions(child, f"{prefix}{child.name}.")


def _called(call: ast.Call) -> str:
    target = call.func
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def _literals(call: ast.Call, file: Path) -> System:
    where = f"{file}:{call.lineno}"
    try:
        values = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    except ValueError as error:
        raise ValueError(f"{where}: the arguments of @system must be literals") from error
    if set(values) != set(_FIELDS) or call.args:
        raise ValueError(f"{where}: @system takes exactly the keywords {', '.join(_FIELDS)}")
    return {field: values[field] for field in _FIELDS}
