"""Validity, uniqueness and novelty of generated molecules, as MOSES defines them."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from headway.molecules.chemistry import canonical


class Quality(NamedTuple):
    """What a set of generated SMILES is worth.

    Args:
        validity: Share that RDKit reads.
        uniqueness: Share of different molecules among the valid ones.
        novelty: Share of the different valid ones that are not in the reference; None without one.
        canonical: Canonical SMILES of each, None where it is no molecule.
    """

    validity: float
    uniqueness: float
    novelty: float | None
    canonical: list[str | None]


def measure(
    smiles: Sequence[str],
    reference: Collection[str] | None = None,
    *,
    read: Callable[[str], str | None] = canonical,
) -> Quality:
    """Measures generated molecules as they are; nothing is filtered before.

    Args:
        smiles: What was generated.
        reference: Canonical SMILES of the training set; no novelty without it.
        read: Returns the one way to write a text, None if it says nothing; RDKit for molecules.

    Source:
        Polykovskiy et al. 2018, https://arxiv.org/abs/1811.12823, section 3.1.
    """
    found = [read(text) for text in smiles]
    valid = [text for text in found if text is not None]
    different = set(valid)
    novelty = None
    if reference is not None:
        novelty = len(different.difference(reference)) / max(1, len(different))
    return Quality(
        validity=len(valid) / max(1, len(smiles)),
        uniqueness=len(different) / max(1, len(valid)),
        novelty=novelty,
        canonical=found,
    )
