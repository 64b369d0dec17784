"""What a model writes after it was optimised, beside what it wrote before."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from headway.core.language import LanguageModel
from headway.molecules.chemistry import canonical
from headway.molecules.metrics import measure
from headway.molecules.metrics.moses.chemnet import Moments, chemnet_moments, frechet_distance
from headway.molecules.optimization.agent import LearningAgent
from headway.molecules.optimization.base import Optimizer
from headway.molecules.optimization.joint import JointOptimization
from headway.molecules.optimization.measures import worth
from headway.molecules.optimization.pairs import PairTuning
from headway.molecules.optimization.targets import Targets
from headway.molecules.scoring import Scorer


def written_before_and_after(
    optimizer: Optimizer,
    scorer: Scorer,
    count: int,
    *,
    seed: int = 0,
    reference: Moments | None = None,
    device: str = "cpu",
) -> dict[str, dict[str, Any]]:
    """Returns what molecules are worth that the model writes ``before`` and ``after``, all as they come.

    They are scored besides the budget. After pair-tuning they are what becomes of those of before.

    Args:
        optimizer: After the run; one without a model has written nothing, and the result is empty.
        scorer: What was optimised.
        count: Molecules of each.
        seed: Of what is drawn.
        reference: Moments of ChemNet of the molecules that FCD is measured to.
        device: Where ChemNet computes.
    """
    targets = optimizer.targets
    if isinstance(optimizer, LearningAgent | JointOptimization):
        before = _write(optimizer.prior, count, seed, targets)
        after = _write(optimizer.agent, count, seed, targets)
    elif isinstance(optimizer, PairTuning):
        before = _write(optimizer.model, count, seed)
        sources = [text for text in before if canonical(text) is not None]
        after = []
        if sources:
            generator = torch.Generator().manual_seed(seed)
            after, _ = optimizer.tuned.rewrite(sources, generator=generator)
    else:
        return {}
    both = {"before": before, "after": after}
    proteins = None
    if targets is not None:
        proteins = [targets.sequences[place] for place in targets.turn(0, count)]
    return {
        name: _measured(smiles, scorer, reference, device, proteins)
        for name, smiles in both.items()
        if smiles
    }


def _write(
    model: LanguageModel, count: int, seed: int, targets: Targets | None = None
) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    told = {} if targets is None else targets.told(targets.turn(0, count))
    options: dict[str, Any] = {"generator": generator, **told}
    found = model.generate([model.tokenizer.prompt("")] * count, **options)
    return [model.tokenizer.decode(row) for row in found.tokens.tolist()]


def _measured(
    smiles: Sequence[str],
    scorer: Scorer,
    reference: Moments | None,
    device: str,
    proteins: Sequence[str] | None,
) -> dict[str, Any]:
    quality = measure(smiles)
    valid = [text for text in quality.canonical if text is not None]
    facts: dict[str, Any] = {
        "molecules": len(smiles),
        "validity": round(quality.validity, 4),
        "uniqueness": round(quality.uniqueness, 4),
    }
    if not valid:
        return facts
    places = [place for place, text in enumerate(quality.canonical) if text is not None]
    about = None if proteins is None else [proteins[place] for place in places]
    facts["mean_score"] = round(float(np.mean(scorer.score(valid, about).values)), 4)
    facts |= worth(valid)
    if reference is not None and len(valid) > 1:
        facts["FCD"] = round(frechet_distance(chemnet_moments(valid, device=device), reference), 3)
    return facts
