"""Which generated molecules are kept: options, and the drawing again of the others."""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rdkit import Chem

from headway.core.generation import Generated, Processor
from headway.core.language import LanguageModel
from headway.molecules.chemistry import molecule, substructure
from headway.molecules.grammar import ValidSmiles


class Wanted(NamedTuple):
    """What a molecule must be to be kept.

    Args:
        has: Patterns that it must have.
        lacks: Patterns that it must not have.
    """

    has: list[Chem.Mol]
    lacks: list[Chem.Mol]

    def accepts(self, smiles: Sequence[str]) -> list[bool]:
        """Returns which texts are molecules as wanted."""
        return [self._accepts(molecule(text)) for text in smiles]

    def _accepts(self, found: Chem.Mol | None) -> bool:
        if found is None:
            return False
        has = all(found.HasSubstructMatch(pattern) for pattern in self.has)
        return has and not any(found.HasSubstructMatch(pattern) for pattern in self.lacks)


def add_acceptance(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what is written and what is kept."""
    group = parser.add_argument_group("what may be written, and what is kept")
    group.add_argument(
        "--grammar",
        action="store_true",
        help="forbid tokens that no SMILES can have there: brackets, rings and valences always fit",
    )
    group.add_argument(
        "--only-valid", action="store_true", help="draw again what RDKit cannot read"
    )
    group.add_argument(
        "--must-have",
        action="append",
        metavar="SMARTS",
        default=[],
        help="draw again what lacks this pattern; may be repeated",
    )
    group.add_argument(
        "--must-not-have",
        action="append",
        metavar="SMARTS",
        default=[],
        help="draw again what has this pattern; may be repeated",
    )
    group.add_argument(
        "--most-draws", type=int, default=100, help="of one molecule, before it is given up (100)"
    )


def read_wanted(args: argparse.Namespace) -> Wanted | None:
    """Returns what is kept; None if everything is.

    Raises:
        UserError: If a pattern is no SMARTS.
    """
    if not (args.only_valid or args.must_have or args.must_not_have):
        return None
    has = [substructure(text, "--must-have") for text in args.must_have]
    return Wanted(has, [substructure(text, "--must-not-have") for text in args.must_not_have])


def processors(args: argparse.Namespace, model: LanguageModel) -> list[Processor]:
    """Returns what keeps to the grammar, if it is asked for."""
    if not args.grammar:
        return []
    return [ValidSmiles(model.tokenizer, max_length=model.max_length)]


def accepts(wanted: Wanted | None, model: LanguageModel) -> Callable[[Generated], Sequence[bool]]:
    """Returns what says which of some generated sequences are kept."""
    if wanted is None:
        return lambda found: [True] * len(found.tokens)
    return lambda found: wanted.accepts(
        [model.tokenizer.decode(row) for row in found.tokens.tolist()]
    )
