"""Which proteins molecules are written for: an option, and the model that is told them."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from headway.core.cli.counts import Counts
from headway.core.errors import InputError, UserError
from headway.core.language import GPT2, LanguageModel
from headway.molecules.models import DrugGen, druggen_of
from headway.molecules.proteins import checked_sequence, is_fasta, read_fasta

OPTION = "--protein"
# Of molecules that a published model writes.
MAX_LENGTH = 256


def add_protein(parser: argparse.ArgumentParser) -> None:
    """Adds the option."""
    parser.add_argument(
        OPTION,
        metavar="SEQUENCE|FASTA",
        help="what the molecules shall bind (DrugGen): a sequence, or a FASTA file with several",
    )


def read_proteins(args: argparse.Namespace) -> dict[str, str] | None:
    """Returns the sequences of the proteins by name; None if none is given.

    Raises:
        InputError: If one is no protein.
    """
    if args.protein is None:
        return None
    if is_fasta(args.protein):
        return dict(read_fasta(Path(args.protein).expanduser()))
    return {"protein": checked_sequence(args.protein, OPTION)}


def told_proteins(
    proteins: Mapping[str, str], model: DrugGen, counts: Counts, policy: str
) -> dict[str, str]:
    """Returns the proteins that a model can be told; the others are refused as ``--on-invalid`` says.

    Raises:
        InputError: If a protein is too long for the model, and the policy is ``raise``.
        UserError: If none is left.
    """
    kept: dict[str, str] = {}
    for name, sequence in proteins.items():
        try:
            model.protein.numbers(sequence, model.tokenizer, name)
        except InputError as error:
            counts.refuse(error, policy)  # pyright: ignore[reportArgumentType]
            continue
        kept[name] = sequence
    if not kept:
        raise UserError(f"the model can be told none of the {len(proteins)} proteins; see above")
    return kept


def targeted(model: LanguageModel, source: str) -> DrugGen:
    """Returns a model that is told proteins: a DrugGen, or a published GPT-2 as one.

    Raises:
        UserError: If it is told none.
    """
    if isinstance(model, DrugGen):
        return model
    if isinstance(model, GPT2):
        return druggen_of(model, max_length=min(MAX_LENGTH, model.max_length // 2))
    raise UserError(
        f"{source} holds a {type(model).__name__}, which is told no protein; "
        "headway fit -c molecules/druggen_pairs trains one that is"
    )
