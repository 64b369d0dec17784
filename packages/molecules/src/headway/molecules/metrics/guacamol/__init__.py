"""The distribution-learning metrics of GuacaMol under their names, on the RDKit of today."""

from headway.molecules.metrics.guacamol.benchmark import NUMBER, guacamol_metrics

__all__ = ["NUMBER", "guacamol_metrics"]
