"""Losses of speech models: sums over the alignments of frames and tokens."""

from headway.speech.losses.lattice import lattice_score, lattice_score_reference, per_token
from headway.speech.losses.transducer import (
    transducer_arcs,
    transducer_loss,
    transducer_loss_of_scores,
)

__all__ = [
    "lattice_score",
    "lattice_score_reference",
    "per_token",
    "transducer_arcs",
    "transducer_loss",
    "transducer_loss_of_scores",
]
