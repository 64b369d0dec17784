"""Proteins: their sequences and FASTA files; backbones with files, angles, coordinates."""

from headway.molecules.proteins.angles import ANGLES, angles_of, wrapped
from headway.molecules.proteins.building import coordinates_of
from headway.molecules.proteins.files import read_backbones, write_backbone
from headway.molecules.proteins.made import made_backbone
from headway.molecules.proteins.sequences import (
    AMINO_ACIDS,
    checked_sequence,
    is_fasta,
    read_fasta,
)

__all__ = [
    "AMINO_ACIDS",
    "ANGLES",
    "angles_of",
    "checked_sequence",
    "coordinates_of",
    "is_fasta",
    "made_backbone",
    "read_backbones",
    "read_fasta",
    "wrapped",
    "write_backbone",
]
