"""Positions: how a token knows where it is.

Rotations, biases and what is added to values act inside attention, ``(heads, head_dim, *, ...)``;
embeddings are added to the tokens, ``(dim, grid, prefix, *, ...)``.
"""

from headway.core.positions.alibi import ALiBi
from headway.core.positions.base import Position
from headway.core.positions.bucketed import BucketedBias
from headway.core.positions.continuous import ContinuousBias
from headway.core.positions.image_relative import ImageRelativeVectors
from headway.core.positions.learned import LearnedPosition
from headway.core.positions.look_here import LookHere
from headway.core.positions.relative import RelativeBias
from headway.core.positions.relative_sinusoidal import RelativeSinusoidal
from headway.core.positions.relative_vectors import RelativeVectors
from headway.core.positions.rotary import Rotary
from headway.core.positions.sinusoidal import NormalizedSinusoidalPosition, SinusoidalPosition
from headway.core.positions.table import PositionTable

__all__ = [
    "ALiBi",
    "BucketedBias",
    "ContinuousBias",
    "ImageRelativeVectors",
    "LearnedPosition",
    "LookHere",
    "NormalizedSinusoidalPosition",
    "Position",
    "PositionTable",
    "RelativeBias",
    "RelativeSinusoidal",
    "RelativeVectors",
    "Rotary",
    "SinusoidalPosition",
]
