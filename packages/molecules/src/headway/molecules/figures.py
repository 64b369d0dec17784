"""Pictures of molecules."""

from collections.abc import Sequence
from pathlib import Path

from rdkit.Chem import Draw
from rdkit.Chem.Draw import rdMolDraw2D

from headway.core.files import atomic_write
from headway.molecules.chemistry import molecule


def save_grid(
    smiles: Sequence[str], path: Path, *, legends: Sequence[str] | None = None, columns: int = 5
) -> None:
    """Draws molecules side by side as PNG.

    Args:
        smiles: Valid SMILES, at least one.
        path: The file, whole or absent.
        legends: A line below each.
        columns: Molecules of a row.
    """
    options = rdMolDraw2D.MolDrawOptions()
    options.drawMolsSameScale = False  # beside a long chain the others would be dots
    picture = Draw.MolsToGridImage(
        [molecule(text) for text in smiles],
        molsPerRow=columns,
        subImgSize=(260, 220),
        legends=list(legends) if legends is not None else [""] * len(smiles),
        returnPNG=False,
        drawOptions=options,
    )
    with atomic_write(path) as file:
        picture.save(file, format="PNG")
