"""GuacaMol's protocol of distribution learning, on molecules of a file."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from headway.core.errors import UserError
from headway.molecules.metrics.guacamol.description import Written, profile, written
from headway.molecules.metrics.guacamol.divergence import divergences
from headway.molecules.metrics.moses.chemnet import chemnet_moments, frechet_distance

NUMBER = 10_000
"""Molecules that GuacaMol asks for."""
SUBSET_SEED = 42
Bar = Callable[..., AbstractContextManager[Callable[[int], None]]]


def guacamol_metrics(
    smiles: Sequence[str],
    training: Sequence[str],
    *,
    number: int = NUMBER,
    fcd: bool = True,
    workers: int = 0,
    device: str = "cpu",
    bar: Bar | None = None,
) -> dict[str, float]:
    """Returns GuacaMol's five scores, from 0 to 1, and what they are made of.

    GuacaMol draws from a model until it has as many valid or different molecules as it needs; here they are
    the first of the list, so a list should be longer than ``number``. What is missing lowers ``Uniqueness``
    and ``Novelty``, as there. Stereochemistry does not count but for FCD. ``KL/NAME`` is the divergence of a
    descriptor, ``FCD`` the distance.

    Args:
        smiles: What was generated, as it came.
        training: The molecules of the training set; of more than ``number`` a subset is compared with (drawn
            as GuacaMol does), and all count for the novelty.
        number: Molecules that each score is of; fewer where the list, or the training set, has fewer.
        fcd: Whether FCD is measured, which needs ``fcd_torch``.
        workers: Processes that share the work; 0 does it here.
        device: Where fingerprints are compared and ChemNet computes.
        bar: Draws progress: called with a word and ``total``.

    Raises:
        UserError: If there are fewer than two valid molecules on a side, or ``number`` is below 2.

    Source:
        Brown et al. 2019, https://arxiv.org/abs/1811.09621, section 3.1, with the details of its code (MIT).
    """
    number = min(number, len(smiles), len(training))
    if number < 2:
        raise UserError(
            f"there are {len(smiles)} molecules and {len(training)} of the training set; at least 2 of each "
            "are needed"
        )
    draw = bar if bar is not None else _no_bar
    with draw("reading", total=len(smiles)) as advance:
        came = written(smiles, workers=workers, progress=advance)
    with draw("training set", total=len(training)) as advance:
        known = written(training, workers=workers, progress=advance)
    subset = np.random.RandomState(SUBSET_SEED).choice(len(training), number, replace=False)
    compared = [one for one in (known[place] for place in subset) if one is not None]
    valid = [one for one in came if one is not None][:number]
    first: dict[str, Written] = {}
    for one in came:
        if one is not None:
            first.setdefault(one.smiles, one)
    different = list(first.values())[:number]
    flat, reference = _flat(different), _flat(compared)
    if min(len(flat), len(reference)) < 2:
        raise UserError(
            f"there are {len(flat)} valid molecules and {len(reference)} of the training set; at least 2 of "
            "each are needed"
        )
    seen = set(_flat([one for one in known if one is not None]))
    said = {
        "Validity": sum(one is not None for one in came[:number]) / number,
        "Uniqueness": len(_flat(valid)) / number,
        "Novelty": len(set(flat) - seen) / number,
    }
    with draw("describing", total=len(flat) + len(reference)) as advance:
        sides = [profile(side, workers=workers, progress=advance) for side in (reference, flat)]
    each = divergences(sides[0], sides[1], device=device)
    said["KL divergence"] = sum(math.exp(-value) for value in each.values()) / len(each)
    if fcd:
        moments = [
            chemnet_moments([one.smiles for one in side], device=device)
            for side in (compared, valid)
        ]
        distance = frechet_distance(moments[0], moments[1])
        said["Frechet ChemNet Distance"] = math.exp(-0.2 * distance)
        said["FCD"] = distance
    return said | {f"KL/{name}": value for name, value in each.items()} | {"samples": number}


def _flat(molecules: Sequence[Written]) -> list[str]:
    """Returns the different molecules without stereochemistry."""
    return list(dict.fromkeys(one.flat for one in molecules))


def _no_bar(word: str, *, total: int) -> Any:
    return nullcontext(lambda ended: None)
