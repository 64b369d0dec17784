"""Pictures of molecules."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdkit.Chem import Draw
from rdkit.Chem.Draw import rdMolDraw2D

from headway.core.figures import new_figure
from headway.core.files import atomic_write
from headway.molecules.chemistry import molecule

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def optimization_figure(
    calls: Sequence[int], means: Mapping[str, Sequence[float]], title: str
) -> "Figure":
    """Draws how good the best molecules were over the calls of the oracle.

    Args:
        calls: Where the curves have points.
        means: The curves by the name of each.
        title: What stands above.
    """
    figure = new_figure(5.5, 3.8)
    axes = figure.add_subplot()
    for name, values in means.items():
        axes.plot([0, *calls], [0.0, *values], label=name, linewidth=1.6)
    axes.set(xlabel="calls of the oracle", ylabel="mean score", title=title, ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
