"""What a run is worth: how soon it found good molecules, how good and how different they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from headway.core.errors import UserError
from headway.molecules.chemistry import checked
from headway.molecules.metrics.moses.description import fingerprint, unpacked
from headway.molecules.metrics.moses.filters import passes
from headway.molecules.metrics.moses.similarity import internal_diversity
from headway.molecules.properties import synthetic_accessibility
from headway.molecules.scoring import parted
from headway.molecules.shipped import has_moses

# Calls between two points of the curve, in PMO.
EVERY = 100
TOPS = (1, 10, 100)


def top_curve(
    scores: Sequence[float], *, top: int = 10, every: int = EVERY
) -> tuple[list[int], list[float]]:
    """Returns after which calls, and how good the mean of the best molecules was by then.

    Args:
        scores: Of different molecules, in the order of the calls.
        top: So many of the best.
        every: Calls between two points; the end is a point too.
    """
    calls = [*range(every, len(scores), every), len(scores)] if scores else []
    return calls, [mean_of_best(scores[:call], top) for call in calls]


def area_under_top(
    scores: Sequence[float], budget: int, *, top: int = 10, every: int = EVERY
) -> float:
    """Returns the area under ``top_curve`` as a share of that of a run with score 1 throughout.

    A run that ended before its budget keeps what it had.

    Args:
        scores: Of different molecules, in the order of the calls.
        budget: Calls that there were.
        top: So many of the best.
        every: Calls between two points.

    Raises:
        UserError: If there are more scores than the budget.

    Source:
        Gao et al. 2022, https://arxiv.org/abs/2206.12411 (PMO), section 3, with the trapezia of their code.
    """
    if len(scores) > budget:
        raise UserError(f"there are {len(scores)} scores and a budget of {budget}")
    if not scores:
        return 0.0
    calls, means = top_curve(scores, top=top, every=every)
    area, before, height = 0.0, 0, 0.0
    for call, mean in zip(calls, means, strict=True):
        area += (call - before) * (height + mean) / 2
        before, height = call, mean
    return (area + (budget - before) * height) / budget


def mean_of_best(scores: Sequence[float], top: int) -> float:
    """Returns the mean of the best scores, of all where there are fewer."""
    best = sorted(scores, reverse=True)[:top]
    return float(np.mean(best)) if best else 0.0


def summary(scores: dict[str, float], budget: int) -> dict[str, Any]:
    """Returns what a run is worth.

    Diversity is 1 less the mean similarity of all pairs of the best 100; ``SA`` their mean synthetic
    accessibility (1 is easy, 10 hard), ``without_alerts`` the share that passes the filters of MOSES.

    Args:
        scores: Of canonical SMILES, or keys of pairs (``pair_key``), in the order of the calls.
        budget: Calls that there were.
    """
    values = list(scores.values())
    facts: dict[str, Any] = {"calls": len(values), "budget": budget}
    facts |= {f"top_{top}": round(mean_of_best(values, top), 4) for top in TOPS}
    facts |= {f"auc_top_{top}": round(area_under_top(values, budget, top=top), 4) for top in TOPS}
    best = list(dict.fromkeys(parted(key)[0] for key in best_of(scores, 100)))
    return facts | {f"top_100_{name}": value for name, value in worth(best).items()}


def worth(smiles: Sequence[str]) -> dict[str, float | None]:
    """Returns diversity, mean synthetic accessibility and share without alerts of molecules.

    Args:
        smiles: Valid ones; None is said of none, and of alerts where ``molsets`` is not installed.
    """
    if not smiles:
        return {"diversity": None, "SA": None, "without_alerts": None}
    found = [checked(text, "molecule") for text in smiles]
    different = len(found) > 1
    bits = unpacked([fingerprint(one) for one in found])
    # Pairs of a molecule with itself are none.
    spread = internal_diversity(bits, powers=(1,))[0] * len(found) / max(1, len(found) - 1)
    return {
        "diversity": round(spread, 4) if different else None,
        "SA": round(float(np.mean([synthetic_accessibility(one) for one in found])), 3),
        "without_alerts": round(float(np.mean([passes(one) for one in found])), 3)
        if has_moses()
        else None,
    }


def best_of(scores: dict[str, float], count: int) -> list[str]:
    """Returns the best molecules, best first; of equal ones the earlier."""
    return sorted(scores, key=lambda text: -scores[text])[:count]
