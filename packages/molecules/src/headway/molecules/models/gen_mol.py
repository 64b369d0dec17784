"""GenMol: molecules by masked diffusion over their fragments."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from headway.core.errors import UserError
from headway.core.generation import Generated
from headway.core.language import MaskedDiffusion, MaskedDiffusionOptions, Tokenizer
from headway.core.passed import Passed
from headway.core.systems import system
from headway.molecules.notation import SafeTexts, SafeTokenizer


@system(
    id=None,
    name="GenMol",
    paper="https://arxiv.org/abs/2501.06158",
    claim="one checkpoint links, extends and decorates fragments, and replaces one between others, "
    "which a model that writes from left to right does not see",
    test="packages/molecules/tests/models/test_gen_mol.py",
)
class GenMol(MaskedDiffusion):
    """A BERT over SAFE that lifts masks by confidence; what is given stands, wherever it stands.

    The published model has 12 blocks of 768 channels, 12 heads and the tokens of SAFE-GPT.

    Args:
        **options: As of every ``Bert``; the tokenizer is one of SAFE, atom by atom if None.

    Shape:
        As of every ``EncoderLanguageModel``.

    Raises:
        UserError: If the tokenizer has no mask, or is none of SAFE.

    Note:
        The released code leaves out fragments that cannot be read and keeps the largest molecule of a text;
        here texts are what was written. It hides start and end in training, too, and adds at least
        18 to 40 tokens to what is given; here a length is drawn from those of training.

    Source:
        Lee et al. 2025, https://arxiv.org/abs/2501.06158.
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = SafeTokenizer

    def __init__(self, **options: Passed[MaskedDiffusionOptions]) -> None:
        super().__init__(**options)
        if not isinstance(self.tokenizer, SafeTexts):
            raise UserError(
                f"a {type(self.tokenizer).__name__} knows no fragments; GenMol takes one of SAFE"
            )

    def complete(
        self,
        fragments: Sequence[str],
        count: int,
        *,
        new: int | None = None,
        first: int = 1,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> Generated:
        """Writes molecules that have given fragments in them.

        Two with a ``*`` each are linked, one with a ``*`` is extended, one with several is decorated, one
        without becomes a part of something larger: then each molecule is bound to it at an atom drawn from
        those that have a hydrogen.

        Args:
            fragments: SMILES with a ``*`` wherever something is to be bound.
            count: Molecules.
            new: Tokens that are written; as ``generate`` draws them if None.
            first: As of ``notation.joined_fragments``; what most molecules of training have is best.
            generator: Of the draws.
            **options: As of ``generate``.

        Raises:
            InputError: If a fragment cannot be read.
            UserError: If there is no fragment, or no room.
        """
        prompts = self.prompts(fragments, count, generator, first=first)
        return self.generate(prompts, new=new, generator=generator, **options)

    def prompts(
        self,
        fragments: Sequence[str],
        count: int,
        generator: torch.Generator | None = None,
        *,
        first: int = 1,
    ) -> list[list[int]]:
        """Returns the beginnings of molecules with given fragments; arguments as of ``complete``."""
        if not fragments or count < 1:
            raise UserError(
                f"at least one fragment and one molecule, got {len(fragments)}, {count}"
            )
        assert isinstance(self.tokenizer, SafeTexts)
        texts = self.tokenizer
        lists = bound_at(fragments, count, generator)
        return [texts.begun(bound, "fragments", first=first) for bound in lists]

    def remask(
        self,
        smiles: Sequence[str],
        *,
        fewest: int = 5,
        most: int = 15,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> Generated:
        """Writes one fragment of each molecule anew, the others stay (fragment remasking).

        Args:
            smiles: The molecules.
            fewest: Tokens of the new fragment at least.
            most: Tokens of it at most.
            generator: Of the draws.
            **options: As of ``fill``.

        Raises:
            InputError: If a molecule cannot be read.
            UserError: If there is no molecule, or no room.

        Source:
            Lee et al. 2025, https://arxiv.org/abs/2501.06158, section 4.3; 5 to 15 as in its code.
        """
        if not smiles or not 1 <= fewest <= most:
            raise UserError(
                f"remask needs molecules and 1 <= fewest <= most, got {len(smiles)}, {fewest} and {most}"
            )
        assert self.tokenizer.mask is not None
        dot = self.tokenizer.numbers.get(".")
        rows: list[list[int]] = []
        hidden: list[list[bool]] = []
        for place, text in enumerate(smiles, start=1):
            row = self.tokenizer.encode(text, f"molecule {place}")
            first = 0 if self.tokenizer.start is None else 1
            last = len(row) - (0 if self.tokenizer.end is None else 1)
            ends = [at for at in range(first, last) if row[at] == dot]
            parts = list(zip([first, *(at + 1 for at in ends)], [*ends, last], strict=True))
            begin, end = parts[_draw(len(parts), generator)]
            size = fewest + _draw(most - fewest + 1, generator)
            rows.append([*row[:begin], *[self.tokenizer.mask] * size, *row[end:]])
            hidden.append([begin <= at < begin + size for at in range(len(rows[-1]))])
        if (longest := max(map(len, rows))) > self.max_length:
            raise UserError(f"{longest} tokens are more than the {self.max_length} of the model")
        pad = torch.nn.utils.rnn.pad_sequence
        return self.fill(
            pad(list(map(torch.tensor, rows)), True, self.tokenizer.filling),
            pad(list(map(torch.tensor, hidden)), True),
            lengths=torch.tensor([len(row) for row in rows]),
            generator=generator,
            **options,
        )


def bound_at(
    fragments: Sequence[str], count: int, generator: torch.Generator | None = None
) -> list[list[str]]:
    """Returns fragments with a ``*`` in each list: where there is none, at an atom drawn for each of them.

    Args:
        fragments: SMILES with or without.
        count: Lists.
        generator: Of the draws.

    Raises:
        InputError: If one cannot be read.
        UserError: If no atom has a hydrogen that could be replaced.
    """
    from headway.molecules.chemistry import checked

    mols = [checked(text, "fragments") for text in fragments]
    if any(not atom.GetAtomicNum() for mol in mols for atom in mol.GetAtoms()):
        return [list(fragments)] * count
    return [[_with_star(mol, generator) for mol in mols] for _ in range(count)]


def _with_star(mol: Any, generator: torch.Generator | None) -> str:
    from rdkit import Chem

    places = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs()]
    if not places:
        raise UserError(f"{Chem.MolToSmiles(mol)} has no hydrogen to replace; give it a *")
    found = Chem.RWMol(mol)
    place = places[_draw(len(places), generator)]
    atom = found.GetAtomWithIdx(place)
    atom.SetNumExplicitHs(max(0, atom.GetNumExplicitHs() - 1))
    found.AddBond(place, found.AddAtom(Chem.Atom(0)), Chem.BondType.SINGLE)
    return Chem.MolToSmiles(found)


def _draw(count: int, generator: torch.Generator | None) -> int:
    return int(torch.randint(count, (), generator=generator))
