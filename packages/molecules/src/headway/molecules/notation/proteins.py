"""Proteins as tokens: alone, or with molecules in one vocabulary."""

import re
from collections.abc import Sequence

from headway.core.language import SPECIALS, OtherTokens, Tokenizer
from headway.core.passed import Passed
from headway.molecules.notation.smiles import SmilesTokenizer, split_smiles
from headway.molecules.proteins.sequences import LETTERS, checked_sequence

PROTEIN, LIGAND = "<P>", "<L>"
_ESM = (
    *("<cls>", "<pad>", "<eos>", "<unk>"),
    *"LAGVSERTIDPKQNFYMHWCXBUZO",
    *(".", "-", "<null_1>", "<mask>"),
)
_MARKED = re.compile(f"({PROTEIN}|{LIGAND})")


class ProteinTokenizer(Tokenizer):
    """Cuts a protein into amino acids; the vocabulary is that of ESM-2.

    Args:
        vocabulary: As of every ``Tokenizer``.
        padding: As of every ``Tokenizer``.
        start: As of every ``Tokenizer``.
        end: As of every ``Tokenizer``.
        unknown: As of every ``Tokenizer``.
        mask: As of every ``Tokenizer``.

    Source:
        Lin et al. 2023, https://doi.org/10.1126/science.ade2574.
    """

    def __init__(
        self,
        *,
        vocabulary: Sequence[str] = _ESM,
        padding: int | None = 1,
        start: int | None = 0,
        end: int | None = 2,
        unknown: int | None = 3,
        mask: int | None = 32,
    ) -> None:
        special = {"padding": padding, "start": start, "end": end}
        super().__init__(vocabulary=vocabulary, unknown=unknown, mask=mask, **special)

    def split(self, text: str, name: str = "protein") -> list[str]:
        """Returns the letters.

        Raises:
            InputError: If one is no amino acid.
        """
        return list(checked_sequence(text, name)) if text else []


class PairTokenizer(SmilesTokenizer):
    """Cuts ``<P>MKV<L>CCO`` into marks, amino acids and atoms, which share one vocabulary.

    A text without marks is a molecule. The start of a text is ``<L>``, so that what follows it is a molecule;
    an amino acid and an atom of one letter are the same token, as among the pieces of the published model.

    Args:
        vocabulary: As of every ``Tokenizer``; the marks and the letters of proteins are in it.
        start: As of every ``Tokenizer``; number of ``<L>``.
        mask: As of every ``Tokenizer``.
        **tokens: As of every ``Tokenizer``.

    Source:
        Li et al. 2023 (DrugGPT), https://doi.org/10.1101/2023.06.29.543848, whose marks these are.
    """

    def __init__(
        self,
        *,
        vocabulary: Sequence[str] = (*SPECIALS, PROTEIN, LIGAND, *sorted(LETTERS)),
        start: int | None = 4,
        mask: int | None = None,
        **tokens: Passed[OtherTokens],
    ) -> None:
        super().__init__(vocabulary=vocabulary, start=start, mask=mask, **tokens)

    def split(self, text: str, name: str = "SMILES") -> list[str]:
        """Returns marks, letters and atoms.

        Raises:
            InputError: If something is neither, or a mark stands where none can.
        """
        tokens: list[str] = []
        within = LIGAND
        for part in _MARKED.split(text):
            if part in (PROTEIN, LIGAND):
                within = part
                tokens.append(part)
            elif part:
                protein = within == PROTEIN
                tokens += checked_sequence(part, name) if protein else split_smiles(part, name)
        return tokens
