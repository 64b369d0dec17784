"""ACEEMD: what is left of a series when its fastest mode is taken off, robust at the ends."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.systems import system

Knots = Literal["extrema", "ends", "middles"]
MOST = 10  # siftings; more change little


class Envelopes(NamedTuple):
    """What encloses the slow part of a series, (L,) each; their average is that part."""

    upper: np.ndarray
    lower: np.ndarray


def natural_spline(places: np.ndarray, values: np.ndarray, length: int) -> np.ndarray:
    """Returns the natural cubic spline through points, at 0 to ``length - 1``.

    Beyond the first and the last point it goes on with its first and last polynomial.

    Shape:
        places, values: (K,), places rising, K of at least 2. Output: (length,).
    """
    gaps, slopes = np.diff(places), np.diff(values) / np.diff(places)
    number = len(places)
    system_ = np.eye(number)
    right = np.zeros(number)
    for i in range(1, number - 1):
        system_[i, i - 1 : i + 2] = gaps[i - 1], 2 * (gaps[i - 1] + gaps[i]), gaps[i]
        right[i] = 6 * (slopes[i] - slopes[i - 1])
    bends = np.linalg.solve(system_, right)
    at = np.arange(length)
    piece = np.clip(np.searchsorted(places, at, side="right") - 1, 0, number - 2)
    width = gaps[piece]
    before, after = at - places[piece], places[piece + 1] - at
    return (
        bends[piece] * after**3 / (6 * width)
        + bends[piece + 1] * before**3 / (6 * width)
        + (values[piece] / width - bends[piece] * width / 6) * after
        + (values[piece + 1] / width - bends[piece + 1] * width / 6) * before
    )


def extrema(x: np.ndarray, knots: Knots) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the upper and the lower envelope of a series are tied to it.

    Args:
        x: The series.
        knots: ``extrema`` alone, with both ``ends``, or with ends and the ``middles`` between neighbours.
    """
    inner = np.arange(1, len(x) - 1)
    peaks = inner[(x[1:-1] > x[:-2]) & (x[1:-1] > x[2:])]
    troughs = inner[(x[1:-1] < x[:-2]) & (x[1:-1] < x[2:])]
    if knots == "extrema":
        return peaks, troughs
    ends = np.array([0, len(x) - 1])
    both = np.unique(np.concatenate([ends, peaks, troughs]))
    more = ends if knots == "ends" else np.concatenate([ends, (both[1:] + both[:-1]) // 2])
    return np.union1d(peaks, more), np.union1d(troughs, more)


def slow_part(x: np.ndarray, knots: Knots = "extrema") -> Envelopes:
    """Returns the envelopes that sifting takes off a series until its fastest mode is left.

    Args:
        x: The series.
        knots: What ties the envelopes; ``extrema`` is plain empirical mode decomposition.

    Shape:
        x: (L,).

    Source:
        Huang et al. 1998, https://doi.org/10.1098/rspa.1998.0193.
    """
    rest, upper, lower = x.astype(float), np.zeros(len(x)), np.zeros(len(x))
    for _ in range(MOST):
        if min(map(len, extrema(rest, "extrema"))) < 1:
            break
        over, under = (
            natural_spline(places, rest[places], len(x)) if len(places) > 1 else None
            for places in extrema(rest, knots)
        )
        if over is None or under is None:
            break
        upper, lower = upper + over, lower + under
        before, rest = rest, rest - (over + under) / 2
        crossings = int((rest[:-1] * rest[1:] < 0).sum())
        turns = sum(map(len, extrema(rest, "extrema")))
        if abs(crossings - turns) < 2 or ((rest - before) ** 2).sum() < 0.2 * (before**2).sum():
            break
    if not upper.any() and not lower.any():
        return Envelopes(x.astype(float), x.astype(float))
    return Envelopes(upper, lower)


@system(
    id=157,
    name="ACEEMD",
    paper="https://arxiv.org/abs/2404.07969",
    claim="paired noise, ends and middles as further knots: at its ends the slow part is much nearer the "
    "clean series than that of plain empirical mode decomposition",
    test="packages/timeseries/tests/models/test_aceformer.py",
)
def aceemd(
    x: np.ndarray, *, alpha: float = 0.5, noise: float = 0.1, pairs: int = 4, seed: int = 0
) -> Envelopes:
    """Returns the envelopes of the slow part of a series; its fastest mode, mostly noise, is gone.

    To one copy noise is added, from the other the same is subtracted; the envelopes of the first are tied
    to extrema and ends, those of the second to the middles between them, too; both are mixed.

    Args:
        x: The series.
        alpha: Share of the second copy.
        noise: Deviation of the noise, as a share of that of the series.
        pairs: How many pairs of copies are averaged.
        seed: Of the noise.

    Shape:
        x: (L,).

    Raises:
        UserError: If ``alpha`` is not between 0 and 1, or there is no pair.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2404.07969, section 3.2.
    """
    if not 0 <= alpha <= 1 or pairs < 1:
        raise UserError(f"alpha {alpha} must lie between 0 and 1, pairs {pairs} be 1 or more")
    random = np.random.default_rng(seed)
    scale = noise * float(x.std())
    upper, lower = np.zeros(len(x)), np.zeros(len(x))
    for _ in range(pairs):
        added = scale * random.standard_normal(len(x))
        first, second = slow_part(x + added, "ends"), slow_part(x - added, "middles")
        upper += (1 - alpha) * first.upper + alpha * second.upper
        lower += (1 - alpha) * first.lower + alpha * second.lower
    return Envelopes(upper / pairs, lower / pairs)


class AliasedEnvelopes(Module):
    """Windows with the envelopes of their slow parts beside them; nothing flows back through it.

    Args:
        alpha: See ``aceemd``.
        noise: See ``aceemd``.
        pairs: See ``aceemd``.

    Shape:
        x: (B, L, N). Output: (B, L, 3 * N): the series, their upper and their lower envelopes.
    """

    factor = 3

    def __init__(self, *, alpha: float = 0.5, noise: float = 0.1, pairs: int = 1) -> None:
        super().__init__()
        self.alpha, self.noise, self.pairs = alpha, noise, pairs

    def forward(self, x: Tensor) -> Tensor:
        """Returns series and envelopes."""
        series = x.detach().cpu().double().transpose(1, 2).flatten(0, 1).numpy()
        options = {"alpha": self.alpha, "noise": self.noise, "pairs": self.pairs}
        found = np.stack([np.stack(aceemd(row, **options)) for row in series], axis=1)
        tensors = torch.from_numpy(found).to(x).unflatten(1, (len(x), -1)).transpose(2, 3)
        return torch.cat([x, *tensors], dim=2)
