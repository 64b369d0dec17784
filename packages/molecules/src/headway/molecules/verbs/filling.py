"""Options of models that lift masks: which fragments are kept, and in which order the rest is written."""

import argparse
from collections.abc import Sequence
from typing import Any

from rdkit import Chem

from headway.core.cli.options import check_positive
from headway.core.errors import UserError
from headway.core.generation.diffusion import Unmasking
from headway.core.language import LanguageModel, MaskedDiffusion
from headway.molecules.chemistry import checked, molecule
from headway.molecules.models import GenMol
from headway.molecules.notation import SafeTexts


def add_filling(parser: argparse.ArgumentParser) -> None:
    """Adds the options of models that lift masks."""
    group = parser.add_argument_group("what is filled in (GenMol)")
    group.add_argument(
        "--keep",
        action="append",
        metavar="SMILES",
        default=[],
        help="a fragment that every molecule has, with a * wherever something is bound to it: two are "
        "linked, one is extended or decorated, one without a * becomes a part of something larger",
    )
    group.add_argument(
        "--first-number",
        type=int,
        help="lowest ring number of a * (the first that is free; 3 is the usual one in MOSES)",
    )
    group.add_argument("--new", type=int, help="tokens that are filled in (as long as in training)")
    group.add_argument(
        "--order",
        choices=("confidence", "random"),
        help="what is filled in first: sure tokens (the default), or any",
    )
    group.add_argument("--randomness", type=float, help="noise in that order, from 0 (0.5)")
    group.add_argument("--at-once", type=int, help="tokens of a molecule in a pass (1)")
    group.add_argument(
        "--repair",
        action="store_true",
        help="read texts as the authors of GenMol do: the largest molecule of what can be read, open "
        "ring numbers taken away",
    )
    group.add_argument(
        "--context-guidance",
        type=float,
        help="above 1 what is kept counts more, at a second pass (1)",
    )


def filling(args: argparse.Namespace, model: LanguageModel) -> dict[str, Any]:
    """Returns what a model that lifts masks is told; nothing for others.

    Raises:
        UserError: If another model is told so.
    """
    asked = {
        "order": args.order,
        "randomness": args.randomness,
        "at_once": args.at_once,
        "guidance": args.context_guidance,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if args.repair and not isinstance(model.tokenizer, SafeTexts):
        raise UserError("--repair is for texts of SAFE; the model writes another notation")
    if args.repair and (args.only_valid or args.must_have or args.must_not_have):
        raise UserError("what is drawn again is judged as it came; leave out --repair")
    if not isinstance(model, MaskedDiffusion):
        if given or args.keep or (args.new, args.first_number) != (None, None):
            raise UserError(
                f"{args.checkpoint} holds a {type(model).__name__}, which lifts no masks; --keep, --new, "
                "--first-number, --order, --randomness, --at-once and --context-guidance are for models that "
                "do, such as that of headway fit -c molecules/genmol_moses"
            )
        return {}
    check_positive(args, "new", "first_number")
    return {"unmasking": Unmasking(**given), "new": args.new}


def kept_prompts(
    args: argparse.Namespace, model: LanguageModel, generator: Any
) -> list[list[int]] | None:
    """Returns the beginning of each molecule that has the fragments of ``--keep``; None if there are none.

    Raises:
        UserError: If something else is asked for besides, or the model knows no fragments.
        InputError: If a fragment cannot be read.
    """
    if not args.keep:
        return None
    if args.prefix:
        raise UserError("--keep says what stands in front; leave out --prefix")
    if not isinstance(model, GenMol):
        raise UserError(f"a {type(model).__name__} knows no fragments; --keep is for a GenMol")
    first = 1 if args.first_number is None else args.first_number
    return model.prompts(args.keep, args.count, generator, first=first)


def share_kept(smiles: Sequence[str | None], fragments: Sequence[str]) -> float | None:
    """Returns the share of all texts that are one molecule with every fragment; None if none was given.

    Args:
        smiles: What was generated; None where it is no molecule.
        fragments: What was to be kept.
    """
    if not fragments:
        return None
    parts = [_without_stars(fragment) for fragment in fragments]
    return sum(_has_all(text, parts) for text in smiles) / max(1, len(smiles))


def _has_all(text: str | None, parts: Sequence[Chem.Mol]) -> bool:
    found = None if text is None or "." in text else molecule(text)
    return found is not None and all(found.HasSubstructMatch(part) for part in parts)


def _without_stars(fragment: str) -> Chem.Mol:
    """Returns a fragment as what is looked for: its atoms, and whatever is bound to them."""
    found = Chem.RWMol(checked(fragment, "--keep"))
    stars = [atom.GetIdx() for atom in found.GetAtoms() if not atom.GetAtomicNum()]
    for place in sorted(stars, reverse=True):
        found.RemoveAtom(place)
    return found.GetMol()
