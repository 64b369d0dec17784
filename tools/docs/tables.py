"""Pages that are made of what is installed: systems, parts of each kind, recipes and verbs."""

from collections.abc import Iterable
from typing import Any

from api import Entry, escaped

from headway.core.cli.parts import KINDS, parts
from headway.core.cli.recipes import recipes
from headway.core.plugins import domains
from headway.core.systems import read_systems

TITLES = {
    "mixers": "Mixers",
    "feedforwards": "Feed-forwards",
    "positions": "Positions",
    "norms": "Norms",
    "blocks": "Blocks",
    "resamplers": "Resamplers",
    "heads": "Heads",
    "optimizers": "Optimisers",
    "schedules": "Schedules",
    "datasets": "Data",
    "tasks": "Tasks",
}


def systems(places: dict[str, list[Entry]]) -> str:
    """Returns the table of published systems.

    Args:
        places: What the API pages describe, by name.
    """
    found = read_systems()
    rows = [
        [
            "" if row["id"] is None else str(row["id"]),
            f"[{escaped(row['name'])}]({row['paper']})",
            escaped(row["claim"]),
            linked(row["where"], places),
        ]
        for row in found
    ]
    return "\n".join(
        [
            "# Systems",
            "",
            f"The {len(found)} published systems in the code, as `headway ls systems` lists them: what each "
            "claims, and where it stands. Every claim has a test that fails without the mechanism "
            "(`headway ls systems --json` names it). The number is that of the project's list of papers.",
            "",
            *table(["no.", "system", "claim", "part"], rows),
            "",
        ]
    )


def kinds(places: dict[str, list[Entry]]) -> str:
    """Returns the tables of parts.

    Args:
        places: What the API pages describe, by name.
    """
    lines = [
        "# Parts",
        "",
        "What can be put into a model, a task or a recipe: `headway ls mixers` and so on print the same. In "
        "YAML and on the command line the name alone is enough.",
        "",
    ]
    for kind in KINDS:
        rows = [[linked(row["where"], places), escaped(row["about"])] for row in parts(kind)]
        lines += [f"## {TITLES[kind]}", "", *table(["part", "what it is"], rows), ""]
    return "\n".join(lines)


def commands() -> str:
    """Returns the tables of verbs and recipes."""
    lines = [
        "# Recipes and verbs",
        "",
        "`headway ls recipes` and `headway ls verbs` print the same.",
        "",
        "## Recipes",
        "",
    ]
    rows: list[list[str]] = []
    for recipe in recipes().values():
        facts = recipe.facts()
        rows.append([f"`{recipe.name}`", escaped(facts["about"]), escaped(facts.get("score", ""))])
    lines += [*table(["recipe", "what it trains", "measured"], rows), "", "## Verbs", ""]
    rows = [
        [f"`{name}`", domain.name, escaped(verb.help)]
        for domain in domains().values()
        for name, verb in sorted(domain.verbs.items())
    ]
    return "\n".join([*lines, *table(["verb", "domain", "what it does"], rows), ""])


def linked(where: str, places: dict[str, list[Entry]]) -> str:
    """Returns a name, as a link to its entry in the API where it has one."""
    module, _, name = where.rpartition(":")
    # Several rooms may export the name; the nearest above the definition is meant.
    able = [entry for entry in places.get(name, []) if module.startswith(entry.room)]
    if not able:
        return f"`{name}`"
    entry = max(able, key=lambda entry: len(entry.room))
    return f"[{name}]({entry.page}.md#{anchor(name)})"


def anchor(name: str) -> str:
    """Returns the anchor of a heading that is one name."""
    return name.lower()


def table(head: list[str], rows: Iterable[list[Any]]) -> list[str]:
    """Returns the lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(" ".join(str(cell).split()) for cell in row) + " |" for row in lines]
