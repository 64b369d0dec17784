"""Losses of speech models: sums over the alignments of frames and tokens; distances of sounds."""

from headway.speech.losses.adversarial import deceiving, matching, telling
from headway.speech.losses.lattice import lattice_score, lattice_score_reference, per_token
from headway.speech.losses.spectral import MelDistance, log_spectral_distance
from headway.speech.losses.transducer import (
    transducer_arcs,
    transducer_loss,
    transducer_loss_of_scores,
)

__all__ = [
    "MelDistance",
    "deceiving",
    "lattice_score",
    "lattice_score_reference",
    "log_spectral_distance",
    "matching",
    "per_token",
    "telling",
    "transducer_arcs",
    "transducer_loss",
    "transducer_loss_of_scores",
]
