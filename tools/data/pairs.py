"""Writes made-up pairs of proteins and molecules: PREFIX.csv (protein, smiles, motif) and PREFIX.fasta.

    python tools/data/pairs.py pairs

No public table of drugs and targets is behind this. The molecules are real ones (of MOSES where ``molsets``
is installed, of the NCI set of RDKit otherwise); the proteins are drawn, letters as frequent as in
Swiss-Prot, and each has one of six motifs in it. What a protein binds is a rule: molecules with the
substructure of its motif and none of the others, so what a model writes can be judged (``bound``).
"""

import argparse
import csv
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from rdkit import Chem

from headway.core.module import Module
from headway.molecules.chemistry import molecule
from headway.molecules.data.readers import read_records
from headway.molecules.shipped import has_moses, moses_file, nci_file

# Motif in the protein, pattern in the molecule: which binds which is made up.
MOTIFS = {
    "HELGH": "S(=O)(=O)N",
    "GKSTW": "c1ccncc1",
    "DFGMC": "c1ccsc1",
    "CPYCR": "c1ccoc1",
    "WSPWK": "C#N",
    "RGDNQ": "C(F)(F)F",
}
# Percent of residues in Swiss-Prot, rounded.
SHARES = {
    **{"A": 8.3, "R": 5.5, "N": 4.1, "D": 5.5, "C": 1.4, "Q": 3.9, "E": 6.7, "G": 7.1, "H": 2.3},
    **{"I": 5.9, "L": 9.7, "K": 5.8, "M": 2.4, "F": 3.9, "P": 4.7, "S": 6.6, "T": 5.4, "W": 1.1},
    **{"Y": 2.9, "V": 6.9},
}
LENGTHS = (48, 72)


@cache
def patterns() -> dict[str, Chem.Mol]:
    """Returns the pattern of each motif."""
    return {motif: Chem.MolFromSmarts(smarts) for motif, smarts in MOTIFS.items()}


def motif_of(protein: str) -> str | None:
    """Returns the motif of a protein; None if it has none, or several."""
    found = [motif for motif in MOTIFS if motif in protein]
    return found[0] if len(found) == 1 else None


def bound(smiles: Sequence[str], proteins: Sequence[str]) -> list[float]:
    """Returns 1 for each pair whose molecule has what the protein binds, 0 for others and for no molecule."""
    said = []
    for text, protein in zip(smiles, proteins, strict=True):
        found, motif = molecule(text), motif_of(protein)
        if found is None or motif is None:
            said.append(0.0)
        else:
            said.append(float(found.HasSubstructMatch(patterns()[motif])))
    return said


class MadeAffinity(Module):
    """The rule as a model that ``headway.molecules.scoring.Affinity`` asks."""

    def predict(self, smiles: Sequence[str], proteins: Sequence[str]) -> list[float]:
        """Returns 1 where a molecule has what the protein binds, 0 elsewhere."""
        return bound(smiles, proteins)


def protein(motif: str, draws: random.Random) -> str:
    """Returns a protein with a motif and none of the others."""
    while True:
        length = draws.randint(*LENGTHS) - len(motif)
        rest = "".join(draws.choices(list(SHARES), weights=list(SHARES.values()), k=length))
        place = draws.randint(1, length)
        found = "M" + rest[1:place] + motif + rest[place:]
        if motif_of(found) == motif:
            return found


def ligands(count: int, draws: random.Random) -> dict[str, list[str]]:
    """Returns real molecules of each motif, at most ``count`` each."""
    file = moses_file() if has_moses() else nci_file()
    smiles = [record.smiles for record in read_records(file)]
    draws.shuffle(smiles)
    found: dict[str, list[str]] = {motif: [] for motif in MOTIFS}
    for text in smiles:
        one = molecule(text)
        if one is None:
            continue
        has = [motif for motif, wanted in patterns().items() if one.HasSubstructMatch(wanted)]
        if len(has) == 1 and len(found[has[0]]) < count:
            found[has[0]].append(text)
        if all(len(some) == count for some in found.values()):
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prefix", type=Path)
    parser.add_argument("-n", "--count", type=int, default=30_000, help="pairs")
    parser.add_argument("--proteins", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draws = random.Random(args.seed)
    known = ligands(args.count // len(MOTIFS), draws)
    motifs = list(MOTIFS)
    proteins = {
        f"made_{place:04d}": protein(motifs[place % len(motifs)], draws)
        for place in range(args.proteins)
    }
    with args.prefix.with_suffix(".fasta").open("w", encoding="utf-8") as file:
        for name, sequence in proteins.items():
            file.write(f">{name} made up, binds by {motif_of(sequence)}\n{sequence}\n")
    with args.prefix.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["protein", "smiles", "motif"])
        names = list(proteins)
        for place in range(args.count):
            name = names[place % len(names)]
            motif = motif_of(proteins[name])
            assert motif is not None
            some = known[motif]
            text = some[place // len(motifs) % len(some)]
            table.writerow([name, text, motif])


if __name__ == "__main__":
    main()
