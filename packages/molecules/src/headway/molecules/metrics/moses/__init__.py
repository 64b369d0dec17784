"""The metrics of MOSES under their names, on the RDKit of today."""

from headway.molecules.metrics.moses.benchmark import metrics_of, moses_metrics
from headway.molecules.metrics.moses.description import Description, describe
from headway.molecules.metrics.moses.reference import Reference, moses_reference, reference_of

__all__ = [
    "Description",
    "Reference",
    "describe",
    "metrics_of",
    "moses_metrics",
    "moses_reference",
    "reference_of",
]
