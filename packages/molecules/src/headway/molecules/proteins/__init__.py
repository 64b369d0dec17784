"""Backbones of proteins: files, angles, coordinates."""

from headway.molecules.proteins.angles import ANGLES, angles_of, wrapped
from headway.molecules.proteins.building import coordinates_of
from headway.molecules.proteins.files import read_backbones, write_backbone
from headway.molecules.proteins.made import made_backbone

__all__ = [
    "ANGLES",
    "angles_of",
    "coordinates_of",
    "made_backbone",
    "read_backbones",
    "wrapped",
    "write_backbone",
]
