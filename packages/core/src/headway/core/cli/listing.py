"""``headway ls``: what is installed, read from files without importing them."""

import fnmatch
import importlib
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from headway.core.cli.parser import Parser
from headway.core.cli.parts import KINDS, parts
from headway.core.cli.recipes import recipes
from headway.core.errors import InputError, UserError
from headway.core.plugins import domains
from headway.core.reading import read_lines
from headway.core.systems import read_systems

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
    parser.add_argument(
        "--todo",
        metavar="LIST",
        help="of systems: the lines of a list of papers that are not among them",
    )
    args = parser.parse_args(words)
    if args.todo is not None and args.kind != "systems":
        raise UserError(
            "--todo compares a list of papers with systems: headway ls systems --todo LIST"
        )
    rows = lacking(args.todo) if args.todo is not None else _KINDS[args.kind]()
    rows = [row for row in rows if _matches(row["name"], args.pattern)]
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
        for place in domain.models:
            module, _, function = place.partition(":")
            names = getattr(importlib.import_module(module), function)()
            rows += [{"name": f"{domain.name}/{name}"} for name in names]
    return rows


def _verbs() -> list[Row]:
    """Returns the verbs of all domains; those that several share once for each."""
    return [
        {"name": f"{domain.name}/{name}", "about": verb.help}
        for domain in domains().values()
        for name, verb in sorted(domain.verbs.items())
    ]


_KINDS: dict[str, Callable[[], list[Row]]] = {
    "recipes": _recipes,
    "models": _models,
    "systems": read_systems,
    "verbs": _verbs,
    **{kind: partial(parts, kind) for kind in KINDS},
}


def lacking(path: str) -> list[Row]:
    """Returns the lines of a list whose numbers no ``@system`` has.

    Args:
        path: A text file, a table perhaps; every line starts with the number of a paper. Empty lines, a
            header and lines that start with ``#`` count as nothing.

    Raises:
        InputError: If a line behind the header starts with no number.
    """
    done = {entry["id"] for entry in read_systems()}
    rows: list[Row] = []
    for place, (number, line) in enumerate(read_lines(path, "list of systems")):
        first, *rest = line.strip().split(None, 1) or [""]
        if not first or first.startswith("#"):
            continue
        if not first.isdecimal():
            if place == 0:
                continue
            raise InputError(
                f"{path}:{number}", f"starts with {first!r}, which is no number of a paper"
            )
        if int(first) not in done:
            rows.append({"name": first, "about": " ".join(rest)})
    return rows
