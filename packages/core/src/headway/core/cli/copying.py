"""``headway cp``: a recipe becomes a file of the user."""

from pathlib import Path

from headway.core.cli.options import refuse_to_overwrite
from headway.core.cli.parser import Parser
from headway.core.cli.recipes import find_recipe
from headway.core.files import atomic_write


def run(verb: str, words: list[str]) -> int:
    """Copies a recipe.

    Args:
        verb: ``"cp"``.
        words: What follows it.
    """
    parser = Parser(prog=f"headway {verb}", description="Copies a recipe.")
    parser.add_argument("recipe", help="its name, such as vision/vit_digits")
    parser.add_argument("target", type=Path, help="the file to write, or a folder")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    args = parser.parse_args(words)
    recipe = find_recipe(args.recipe)
    target = args.target / recipe.path.name if args.target.is_dir() else args.target
    refuse_to_overwrite(target, overwrite=args.overwrite)
    with atomic_write(target, "w") as file:
        file.write(recipe.text)
    print(f"{target}: train it with headway fit -c {target}")
    return 0
