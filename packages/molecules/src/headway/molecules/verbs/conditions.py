"""What generated molecules shall be like: options, a table of wishes, and how near the answer is."""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.core.cli.options import check_positive
from headway.core.errors import InputError, UserError
from headway.core.language import ConditionalLanguageModel, LanguageModel
from headway.core.reading import read_table
from headway.molecules.chemistry import checked, molecule
from headway.molecules.metrics import Quality, deviations, has_fragment
from headway.molecules.notation import is_molecular
from headway.molecules.properties import PROPERTIES

FRAGMENT = "fragment"


@dataclass(frozen=True)
class Wishes:
    """What each molecule shall be like.

    Args:
        values: Wanted properties by name, of each molecule.
        fragments: What each shall have in it; None where nothing is wanted.
        names: Where each wish stands, for messages.
    """

    values: list[dict[str, float]]
    fragments: list[str | None]
    names: list[str]

    @property
    def properties(self) -> list[str]:
        """The properties that any molecule shall have."""
        return list(dict.fromkeys(name for row in self.values for name in row))

    def of(self, name: str) -> list[float]:
        """Returns the wanted value of a property for each molecule; nan where there is none."""
        return [row.get(name, math.nan) for row in self.values]


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what the molecules shall be like."""
    wishes = parser.add_argument_group("what the molecules shall be like (LLamol)")
    wishes.add_argument(
        "--condition",
        action="append",
        metavar="NAME=VALUE",
        default=[],
        help="a property of every molecule, such as logP=2; may be repeated",
    )
    wishes.add_argument("--fragment", metavar="SMILES", help="what every molecule shall have in it")
    wishes.add_argument(
        "--conditions",
        type=Path,
        metavar="FILE",
        help="a table of wishes: a column for each property, and one called fragment; -n molecules for "
        "each row, empty cells are free",
    )
    wishes.add_argument(
        "--guidance", type=float, default=1.0, help="above 1 the wishes count more (1)"
    )


def read_wishes(args: argparse.Namespace) -> Wishes | None:
    """Returns what the molecules shall be like, ``--count`` of each kind; None if nothing is said.

    Raises:
        UserError: If an option or a cell cannot be read.
    """
    told = bool(args.condition or args.fragment)
    if not math.isfinite(args.guidance) or args.guidance < 0:
        raise UserError(f"--guidance is {args.guidance}; it must be 0 or more, 1 for none")
    if told and args.conditions is not None:
        raise UserError(
            "--conditions has the wishes of each row; leave out --condition and --fragment"
        )
    check_positive(args, "count")
    if args.count is None:
        args.count = 1 if args.conditions is not None else 100
    if not told and args.conditions is None:
        if args.guidance != 1:
            raise UserError("--guidance needs something to lean towards; give --condition")
        return None
    rows = [_options(args)] if args.conditions is None else list(_table(args.conditions))
    repeated = [row for row in rows for _ in range(args.count)]
    values, fragments, names = (list(part) for part in zip(*repeated, strict=True))
    return Wishes(values, fragments, names)  # pyright: ignore[reportArgumentType]


def conditions(wishes: Wishes, model: LanguageModel, args: argparse.Namespace) -> dict[str, Any]:
    """Returns what a model is told.

    Raises:
        UserError: If it takes no conditions, or not these.
    """
    if not isinstance(model, ConditionalLanguageModel):
        raise UserError(
            f"{args.checkpoint} holds a {type(model).__name__}, which takes no conditions; "
            "headway fit -c molecules/llamol_moses trains one that does"
        )
    if is_molecular(model.tokenizer):
        for part, where in dict(zip(wishes.fragments, wishes.names, strict=True)).items():
            if part:
                checked(part, where)
    told: dict[str, Any] = model.conditions(wishes.values, wishes.fragments, wishes.names)
    return told if args.guidance == 1 else {**told, "guidance": args.guidance}


def columns(wishes: Wishes | None) -> list[str]:
    """Returns the columns of the table that say what was wanted and what came."""
    if wishes is None:
        return []
    asked = [part for name in wishes.properties for part in (f"wanted_{name}", name)]
    return [*asked, *([FRAGMENT, "has_fragment"] if any(wishes.fragments) else [])]


def cells(wishes: Wishes | None, quality: Quality, molecular: bool) -> Iterator[dict[str, Any]]:
    """Yields, for each molecule, what was wanted and what came."""
    if wishes is None:
        yield from ({} for _ in quality.canonical)
        return
    for text, wanted, part in zip(quality.canonical, wishes.values, wishes.fragments, strict=True):
        found = None if text is None else molecule(text)
        row: dict[str, Any] = {f"wanted_{name}": value for name, value in wanted.items()}
        if found is not None:
            known = [name for name in wishes.properties if name in PROPERTIES]
            row |= {name: f"{PROPERTIES[name](found):.4f}" for name in known}
        if part:
            row |= {FRAGMENT: part, "has_fragment": int(_has(text, part, molecular))}
        yield row


def nearness(wishes: Wishes | None, quality: Quality, molecular: bool) -> dict[str, float]:
    """Returns how near the valid molecules are to what was wanted, and the share with the fragment."""
    if wishes is None:
        return {}
    far = {name: deviations(quality.canonical, name, wishes.of(name)) for name in wishes.properties}
    facts = {
        f"deviation_{name}": round(value, 4) for name, value in far.items() if value is not None
    }
    pairs = zip(quality.canonical, wishes.fragments, strict=True)
    hits = [_has(text, part, molecular) for text, part in pairs if text is not None and part]
    if hits:
        facts["fragment_hit_rate"] = round(sum(hits) / len(hits), 4)
    return facts


def _has(text: str | None, part: str, molecular: bool) -> bool:
    """Whether a molecule has a fragment in it, or a line of another notation a piece."""
    return has_fragment(text, part) if molecular else part in (text or "")


Wish = tuple[dict[str, float], str | None, str]


def _options(args: argparse.Namespace) -> Wish:
    values: dict[str, float] = {}
    for said in args.condition:
        name, equals, value = said.partition("=")
        if not (name and equals):
            raise UserError(f"--condition {said!r} is no NAME=VALUE, such as logP=2")
        if name in values:
            raise UserError(f"--condition names {name} twice")
        values[name] = _number(value, f"--condition {name}")
    return values, args.fragment or None, "--condition or --fragment"


def _table(path: Path) -> Iterator[Wish]:
    rows = list(read_table(path))
    if not rows:
        raise UserError(f"{path} has no rows")
    for number, row in rows:
        where = f"{path.name}, row {number}"
        said = {name.strip(): cell.strip() for name, cell in row.items() if cell.strip()}
        part = said.pop(FRAGMENT, None)
        yield {name: _number(cell, where) for name, cell in said.items()}, part, where


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(where, f"{text!r:.60} is no number") from None
