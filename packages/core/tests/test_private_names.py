"""Private names of torch and lightning stand in one file each."""

import ast
from collections.abc import Iterator
from pathlib import Path

import headway.core
from headway.core.systems import installed_packages, modules

HOMES = {"private_torch.py", "private_lightning.py"}
LIBRARIES = ("torch", "lightning")
# In spite of its underscore: https://docs.pytorch.org/docs/stable/generated/torch._check.html
DOCUMENTED = {"_check"}


def private_names(tree: ast.Module) -> Iterator[str]:
    """Names that begin with an underscore, of what is imported from a library or reached by a dotted path."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(LIBRARIES):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (name for name in names if is_private(name))
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            path = ast.unparse(node.value)
            if path.startswith(("torch.", "trainer.", "loop.")) or path in ("torch", "trainer"):
                yield f"{path}.{node.attr}"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def test_no_other_file_uses_one() -> None:
    found = [
        f"{file.name}: {name}"
        for package, folder in installed_packages().items()
        for _, file, tree in modules(package, folder)
        if file.name not in HOMES
        for name in private_names(tree)
    ]
    assert not found


def test_the_homes_are_where_they_are_looked_for() -> None:
    root = Path(headway.core.__file__).parent
    for home in ("private_torch.py", "training/private_lightning.py"):
        tree = ast.parse((root / home).read_text())
        assert list(private_names(tree))
