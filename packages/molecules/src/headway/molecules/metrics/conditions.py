"""How near generated molecules are to what was asked for."""

import math
from collections.abc import Sequence

from headway.molecules.chemistry import molecule
from headway.molecules.properties import PROPERTIES


def deviations(smiles: Sequence[str | None], name: str, wanted: Sequence[float]) -> float | None:
    """Returns the mean absolute deviation of a property from what was wanted.

    Args:
        smiles: What was generated; None where it is no molecule, which does not count.
        name: The property.
        wanted: Its value for each; nan where none was wanted, which does not count.

    Returns:
        None if RDKit does not compute the property, or nothing counts.
    """
    if name not in PROPERTIES:
        return None
    far: list[float] = []
    for text, value in zip(smiles, wanted, strict=True):
        found = None if text is None or math.isnan(value) else molecule(text)
        if found is not None:
            far.append(abs(PROPERTIES[name](found) - value))
    return sum(far) / len(far) if far else None


def has_fragment(smiles: str | None, fragment: str) -> bool:
    """Whether a molecule has a fragment in it, as a part of its graph."""
    found, part = (None if smiles is None else molecule(smiles)), molecule(fragment)
    return found is not None and part is not None and found.HasSubstructMatch(part)
