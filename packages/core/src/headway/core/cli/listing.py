"""``headway ls``: what is installed, read from files without importing them."""

import ast
import fnmatch
import importlib
import json
import sys
from typing import Any

from headway.core.cli.parser import Parser
from headway.core.cli.recipes import recipes
from headway.core.plugins import domains
from headway.core.systems import installed_packages, modules, read_systems

Row = dict[str, Any]


def run(verb: str, words: list[str]) -> int:
    """Prints a list.

    Args:
        verb: ``"ls"``.
        words: What follows it.
    """
    parser = Parser(prog=f"headway {verb}", description="Lists what is installed.")
    parser.add_argument("kind", choices=tuple(_KINDS), help="what to list")
    parser.add_argument("pattern", nargs="?", help="part of the name, or a pattern with * and ?")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(words)
    rows = [row for row in _KINDS[args.kind]() if _matches(row["name"], args.pattern)]
    if args.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    if not rows:
        what = (
            f"no {args.kind}" if args.pattern is None else f"no {args.kind} like {args.pattern!r}"
        )
        print(f"headway: there are {what}", file=sys.stderr)
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['name']:<{width}}  {_summary(row)}".rstrip())
    return 0


def _matches(name: str, pattern: str | None) -> bool:
    if pattern is None:
        return True
    if any(sign in pattern for sign in "*?["):
        # The domain in front may be left out.
        names = {name.lower(), name.lower().partition("/")[2] or name.lower()}
        return any(fnmatch.fnmatchcase(known, pattern.lower()) for known in names)
    return pattern.lower() in name.lower()


def _summary(row: Row) -> str:
    if "claim" in row:
        number = "" if row["id"] is None else f"[{row['id']}] "
        return f"{number}{row['claim']} ({row['where']})"
    score = f" ({row['score']})" if row.get("score") else ""
    return f"{row.get('about', '')}{score}"


def _recipes() -> list[Row]:
    return [{"name": r.name, **r.facts(), "path": str(r.path)} for r in recipes().values()]


def _models() -> list[Row]:
    rows = []
    for domain in domains().values():
        if domain.models is None:
            continue
        module, _, function = domain.models.partition(":")
        names = getattr(importlib.import_module(module), function)()
        rows += [{"name": f"{domain.name}/{name}"} for name in names]
    return rows


def _mixers() -> list[Row]:
    """Returns every class that descends from ``TokenMixer``, directly or not."""
    classes: dict[str, tuple[set[str], Row]] = {}
    for package, folder in installed_packages().items():
        for module, _, tree in modules(package, folder):
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    bases = {ast.unparse(base).rsplit(".", 1)[-1] for base in node.bases}
                    about = (ast.get_docstring(node) or "").partition("\n")[0]
                    row = {"name": node.name, "about": about, "where": f"{module}:{node.name}"}
                    classes[node.name] = (bases, row)
    mixers = {"TokenMixer"}
    while new := {n for n, (bases, _) in classes.items() if n not in mixers and bases & mixers}:
        mixers |= new
    # A name with an underscore is what others are built on.
    public = sorted(name for name in mixers - {"TokenMixer"} if not name.startswith("_"))
    return [classes[name][1] for name in public]


_KINDS = {"recipes": _recipes, "models": _models, "systems": read_systems, "mixers": _mixers}
