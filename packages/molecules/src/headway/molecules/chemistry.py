"""What RDKit says about a SMILES."""

from rdkit import Chem, RDLogger

from headway.core.errors import InputError, UserError

RDLogger.DisableLog("rdApp.*")  # pyright: ignore[reportAttributeAccessIssue]


def molecule(smiles: str) -> Chem.Mol | None:
    """Returns the molecule, or None if RDKit cannot read it."""
    found = Chem.MolFromSmiles(smiles)
    return found if found is not None and found.GetNumAtoms() else None


def checked(smiles: str, name: str) -> Chem.Mol:
    """Returns the molecule of a SMILES.

    Args:
        smiles: The SMILES.
        name: The file and row, for the message.

    Raises:
        InputError: If RDKit cannot read it; the message says why.
    """
    found = molecule(smiles)
    if found is None:
        raise InputError(name, f"{smiles!r} is no molecule: {_reason(smiles)}")
    return found


def substructure(smarts: str, option: str = "") -> Chem.Mol:
    """Returns the pattern of a SMARTS.

    Args:
        smarts: The SMARTS.
        option: Where it was given, for the message.

    Raises:
        UserError: If RDKit cannot read it, or it is empty.
    """
    found = Chem.MolFromSmarts(smarts)
    if found is None or not found.GetNumAtoms():
        raise UserError(f"{option} {smarts!r} is no SMARTS".strip())
    return found


def canonical(smiles: str) -> str | None:
    """Returns the canonical SMILES of RDKit, or None if it is no molecule."""
    found = molecule(smiles)
    return None if found is None else Chem.MolToSmiles(found)


def rewritten(found: Chem.Mol) -> str:
    """Returns the canonical SMILES in letters that every notation has: no arrows of dative bonds."""
    how = Chem.SmilesWriteParams()
    how.includeDativeBonds = False
    return Chem.MolToSmiles(found, how)


def random_smiles(found: Chem.Mol, seed: int) -> str:
    """Returns one of the many SMILES of a molecule."""
    return Chem.MolToRandomSmilesVect(found, 1, randomSeed=seed)[0]


def _reason(smiles: str) -> str:
    raw = Chem.MolFromSmiles(smiles, sanitize=False)
    if raw is None:
        return "a ring, a branch or a bond is not closed, or the notation is wrong"
    problems = Chem.DetectChemistryProblems(raw)
    return problems[0].Message() if problems else "it has no atoms"
