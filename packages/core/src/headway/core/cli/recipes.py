"""Recipes: where they are, and what their first lines say."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headway.core.cli.nearest import nearest
from headway.core.errors import InputError, UserError
from headway.core.reading import check_path, read_text, read_yaml
from headway.core.systems import installed_packages


@dataclass(frozen=True)
class Recipe:
    """A YAML file that trains something.

    Args:
        name: Such as ``vision/vit_digits``.
        path: The file.
    """

    name: str
    path: Path

    @property
    def text(self) -> str:
        """What the file holds."""
        return read_text(self.path, "recipe")

    def header(self) -> list[str]:
        """Returns the comment that the file opens with, line by line."""
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.lstrip("# ").rstrip())
        return [line for line in lines if line]

    def facts(self) -> dict[str, str]:
        """Returns ``command``, ``about`` (the first sentence) and lines such as ``score: ...``."""
        header = self.header()
        facts = {"about": ""}
        for line in header:
            if line.startswith("headway "):
                facts.setdefault("command", line)
                continue
            if not facts["about"]:
                facts["about"] = line
                continue
            key, colon, value = line.partition(":")
            if colon and key.replace(" ", "").isalpha() and value:
                facts[key.strip().lower()] = value.strip()
        return facts


def recipes() -> dict[str, Recipe]:
    """Returns the recipes of all installed packages by name, importing none of them."""
    found = {}
    for package, folder in installed_packages().items():
        root = folder / "recipes"
        for path in sorted(root.rglob("*.yaml")):
            inner = path.relative_to(root).with_suffix("").as_posix()
            name = f"{package.removeprefix('headway.')}/{inner}"
            found[name] = Recipe(name, path)
    return found


def find_recipe(given: str) -> Recipe:
    """Returns the recipe of a path, which goes first, or of a name.

    Args:
        given: What ``-c`` was given.
    """
    check_path(given)
    path = Path(given)
    if path.exists() and not path.is_dir():
        return Recipe(path.stem, path)
    known = recipes()
    name = given.removesuffix(".yaml")
    if name in known:
        return known[name]
    raise UserError(
        f"there is no file and no recipe {given!r}{nearest(name, known, most=3)}; "
        "headway ls recipes shows all"
    )


def check_recipes(found: Iterable[Recipe]) -> None:
    """Reads recipes before anything is built of them.

    Raises:
        InputError: If one is no text, no YAML, nested too deeply, or no mapping.
    """
    for recipe in found:
        content = read_yaml(recipe.path, "recipe")
        # Who builds of it reads it once more, as UTF-8.
        if recipe.path.read_bytes().startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(str(recipe.path), "is UTF-16; save it as UTF-8")
        if not isinstance(content, dict):
            kind = "nothing" if content is None else f"a {type(content).__name__}"
            raise InputError(
                str(recipe.path), f"holds {kind}; a recipe is a mapping (model:, data:, trainer:)"
            )
        odd = next((key for key in content if not isinstance(key, str)), None)
        if odd is not None:
            raise InputError(str(recipe.path), f"has the key {odd!r}; keys are words")
