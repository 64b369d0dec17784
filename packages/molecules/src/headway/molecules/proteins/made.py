"""Backbones that are made up: helices, strands and loops with the angles that real ones have on average."""

import math

import torch
from torch import Tensor

from headway.molecules.proteins.angles import wrapped

# Mean and deviation of phi and psi in degrees, and how many residues a stretch has.
_KINDS = {
    "helix": ((-63.0, 7.0), (-42.0, 7.0), (8, 20)),
    "strand": ((-120.0, 18.0), (135.0, 18.0), (4, 9)),
    "loop": ((-75.0, 25.0), (150.0, 35.0), (2, 5)),
    "turn": ((57.0, 12.0), (35.0, 15.0), (1, 2)),
}
# Of omega and the three angles between bonds, in degrees.
_OTHERS = ((180.0, 5.0), (111.0, 2.5), (117.2, 1.5), (121.7, 1.7))
_FOLLOWS = {
    "helix": ("loop", "turn"),
    "strand": ("loop", "turn"),
    "loop": ("helix", "strand", "turn"),
    "turn": ("helix", "strand", "loop"),
}


def made_backbone(length: int, generator: torch.Generator) -> Tensor:
    """Returns angles of a made-up backbone, (length, 6) in radians: stretches of helix, strand, loop, turn.

    It is for trying things out: the stretches are right, no fold is.

    Args:
        length: Residues.
        generator: Of the draws.
    """
    kind = list(_KINDS)[_draw(len(_KINDS), generator)]
    rows: list[Tensor] = []
    while sum(len(part) for part in rows) < length:
        phi, psi, (least, most) = _KINDS[kind]
        count = least + _draw(most - least + 1, generator)
        moments = torch.tensor([phi, psi, *_OTHERS], dtype=torch.float64)
        noise = torch.randn(count, len(moments), generator=generator, dtype=torch.float64)
        rows.append(moments[:, 0] + noise * moments[:, 1])
        kind = _FOLLOWS[kind][_draw(len(_FOLLOWS[kind]), generator)]
    return wrapped(torch.cat(rows)[:length] * math.pi / 180).float()


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
