"""All metrics of MOSES, by its names and its protocol."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from scipy.stats import wasserstein_distance

from headway.core.errors import UserError
from headway.molecules.metrics.moses.chemnet import frechet_distance
from headway.molecules.metrics.moses.description import Description, describe
from headway.molecules.metrics.moses.reference import Reference, reference_of
from headway.molecules.metrics.moses.similarity import (
    cosine,
    internal_diversity,
    nearest_similarity,
)

Bar = Callable[..., AbstractContextManager[Callable[[int], None]]]


def moses_metrics(
    smiles: Sequence[str],
    references: Mapping[str, Reference],
    *,
    workers: int = 0,
    bar: Bar | None = None,
    **options: Any,
) -> dict[str, float]:
    """Returns the metrics of generated molecules, in the order of MOSES' tables.

    Args:
        smiles: What was generated, as it came: 30,000 in MOSES' protocol.
        references: By the name of their columns, such as ``Test`` and ``TestSF``; see ``moses_reference``.
        workers: Processes that describe the molecules; 0 does it here.
        bar: Draws progress: called with a word and ``total``, as ``headway.core.cli.progress.progress_bar``.
        **options: As of ``metrics_of``: train, unique_of, device.

    Raises:
        UserError: If there is no molecule at all, none is valid, or no reference is given.

    Source:
        Polykovskiy et al. 2018, https://arxiv.org/abs/1811.12823, section 3.
    """
    draw = bar if bar is not None else _no_bar
    with draw("describing", total=len(smiles)) as advance:
        described = describe(smiles, workers=workers, progress=advance)
    return metrics_of(described, references, bar=bar, **options)


def metrics_of(
    described: Sequence[Description | None],
    references: Mapping[str, Reference],
    *,
    train: Collection[str] | None = None,
    unique_of: Sequence[int] = (1000, 10000),
    device: str = "cpu",
    bar: Bar | None = None,
) -> dict[str, float]:
    """Returns the metrics of molecules that ``describe`` has described, invalid ones (None) among them.

    Everything but ``valid`` is computed on the valid molecules, repeated ones included. Properties (logP, SA,
    QED, weight) are Wasserstein distances to the first reference. ``Filters`` needs ``molsets``, FCD
    ``fcd_torch`` and references with moments of ChemNet; what cannot be measured is left out.

    Args:
        described: The molecules.
        references: By the name of their columns.
        train: Canonical SMILES of the training set, for ``Novelty``. RDKit of today writes 0.075 % of MOSES'
            molecules otherwise than its files do; write them anew for exact numbers.
        unique_of: ``unique@k`` is of the first k valid molecules, where there are so many.
        device: Where fingerprints are compared and ChemNet computes.
        bar: Draws progress, see ``moses_metrics``.

    Raises:
        UserError: If there is no molecule at all, none is valid, or no reference is given.
    """
    if not described or not references:
        raise UserError(
            f"there are {len(described)} molecules and {len(references)} references; at least 1 of each is "
            "needed"
        )
    draw = bar if bar is not None else _no_bar
    valid = [one for one in described if one is not None]
    said: dict[str, float] = {"valid": len(valid) / len(described)}
    if not valid:
        raise UserError(
            f"none of {len(described):,} molecules is valid; nothing else can be measured"
        )
    texts = [one.smiles for one in valid]
    for count in unique_of:
        if len(texts) >= count:
            said[f"unique@{count}"] = len(set(texts[:count])) / count
    with_chemnet = any(one.chemnet is not None for one in references.values())
    own = reference_of(valid, chemnet=with_chemnet and len(valid) > 1, device=device)
    for name, reference in references.items():
        if own.chemnet is not None and reference.chemnet is not None:
            said[f"FCD/{name}"] = frechet_distance(own.chemnet, reference.chemnet)
    for name, reference in references.items():
        with draw(f"nearest of {name}", total=len(valid)) as advance:
            said[f"SNN/{name}"] = nearest_similarity(
                reference.fingerprints, own.fingerprints, device=device, progress=advance
            )
    for name, reference in references.items():
        said[f"Frag/{name}"] = cosine(reference.fragments, own.fragments)
    for name, reference in references.items():
        said[f"Scaf/{name}"] = cosine(reference.scaffolds, own.scaffolds)
    said["IntDiv"], said["IntDiv2"] = internal_diversity(own.fingerprints, device=device)
    if all(one.passes is not None for one in valid):
        said["Filters"] = sum(bool(one.passes) for one in valid) / len(valid)
    first = next(iter(references.values()))
    for name, values in own.properties.items():
        said[name] = float(wasserstein_distance(first.properties[name], values))
    if train is not None:
        different = set(texts)
        said["Novelty"] = len(different.difference(train)) / len(different)
    return said


def _no_bar(word: str, *, total: int) -> Any:
    return nullcontext(lambda ended: None)
