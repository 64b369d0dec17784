"""Scores of how alike molecules are."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.Pharm2D import Generate, Gobbi_Pharm2D

from headway.core.errors import UserError
from headway.molecules.chemistry import checked
from headway.molecules.scoring.base import Scorer
from headway.molecules.scoring.transforms import Transform

Kind = Literal["ECFP4", "ECFP6", "FCFP4", "FCFP6", "AP", "PHCO"]


class Similarity(Scorer):
    """Scores how alike molecules are to one: Tanimoto's coefficient of counted fingerprints.

    Args:
        target: SMILES of the molecule.
        fingerprint: Circular ones of atoms (ECFP) or their roles (FCFP), of diameter 4 or 6, pairs of atoms
            up to 10 bonds apart (AP), or pharmacophores of Gobbi and Poppinger (PHCO, slow: about 120 a
            second).
        transform: Makes another score of the similarity.

    Raises:
        UserError: If the target is no molecule or there is no such fingerprint.

    Source:
        Brown et al. 2019, https://arxiv.org/abs/1811.09621 (GuacaMol), whose fingerprints these are.
    """

    def __init__(
        self, *, target: str, fingerprint: Kind = "ECFP4", transform: Transform | None = None
    ) -> None:
        super().__init__(transform)
        self.kind = fingerprint
        self.reference = fingerprint_of(fingerprint)(checked(target, "target"))

    def numbers(self, molecules: Sequence[Chem.Mol]) -> list[float]:
        """Returns the similarity of each."""
        make = fingerprint_of(self.kind)
        return DataStructs.BulkTanimotoSimilarity(self.reference, [make(one) for one in molecules])


@cache
def fingerprint_of(kind: str) -> Callable[[Chem.Mol], Any]:
    """Returns what makes a fingerprint of a kind.

    Raises:
        UserError: If there is no such kind.
    """
    if kind == "PHCO":
        return lambda found: Generate.Gen2DFingerprint(found, Gobbi_Pharm2D.factory)
    roles = rdFingerprintGenerator.GetMorganFeatureAtomInvGen
    made = {
        "ECFP4": lambda: rdFingerprintGenerator.GetMorganGenerator(radius=2),
        "ECFP6": lambda: rdFingerprintGenerator.GetMorganGenerator(radius=3),
        "FCFP4": lambda: rdFingerprintGenerator.GetMorganGenerator(
            radius=2, atomInvariantsGenerator=roles()
        ),
        "FCFP6": lambda: rdFingerprintGenerator.GetMorganGenerator(
            radius=3, atomInvariantsGenerator=roles()
        ),
        "AP": lambda: rdFingerprintGenerator.GetAtomPairGenerator(maxDistance=10),
    }
    if kind not in made:
        raise UserError(f"there is no fingerprint {kind!r}; known: {', '.join(made)}, PHCO")
    return made[kind]().GetSparseCountFingerprint
