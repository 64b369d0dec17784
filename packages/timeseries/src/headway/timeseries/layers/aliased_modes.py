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
ROUNDING = 1e-6  # of the range of a series, which may have been computed in single precision


class Envelopes(NamedTuple):
    """What encloses the slow part of a series, (L,) each; their average is that part."""

    upper: np.ndarray
    lower: np.ndarray


def cubic_spline(
    places: np.ndarray, values: np.ndarray, length: int, *, natural: bool = True
) -> np.ndarray:
    """Returns the cubic spline through points, at 0 to ``length - 1``.

    Beyond the first and the last point it goes on with its first and last polynomial.

    Args:
        places: Where the points lie, rising.
        values: What they are.
        length: Of the result.
        natural: Whether it is straight at its ends; else its first two and its last two polynomials are
            one ("not a knot"). Three points or fewer make a natural one.

    Shape:
        places, values: (K,), K of at least 2. Output: (length,).
    """
    gaps, slopes = np.diff(places), np.diff(values) / np.diff(places)
    number = len(places)
    system_ = np.eye(number)
    right = np.zeros(number)
    for i in range(1, number - 1):
        system_[i, i - 1 : i + 2] = gaps[i - 1], 2 * (gaps[i - 1] + gaps[i]), gaps[i]
        right[i] = 6 * (slopes[i] - slopes[i - 1])
    if not natural and number > 3:
        system_[0, :3] = gaps[1], -gaps[0] - gaps[1], gaps[0]
        system_[-1, -3:] = gaps[-1], -gaps[-1] - gaps[-2], gaps[-2]
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
            cubic_spline(places, rest[places], len(x)) if len(places) > 1 else None
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


def _enveloped(x: np.ndarray, knots: Knots) -> Envelopes:
    splines = (
        cubic_spline(places, x[places], len(x), natural=False) for places in extrema(x, knots)
    )
    return Envelopes(*splines)


def _is_mode(rest: np.ndarray, before: np.ndarray) -> bool:
    """Whether what sifting left is a mode: it crosses zero as often as it turns, or hardly changed."""
    crossings = int((rest[:-1] * rest[1:] < 0).sum())
    if abs(crossings - sum(map(len, extrema(rest, "ends")))) < 2:
        return True
    moved = rest - before
    spread, power = np.ptp(before), (before**2).sum()
    if spread > 0 and (moved**2).sum() / spread < 0.001:
        return True
    if rest.all() and ((moved / rest) ** 2).sum() < 0.2:
        return True
    return bool(power > 0 and (moved**2).sum() / power < 0.2)


def sift_together(first: np.ndarray, second: np.ndarray) -> tuple[Envelopes, Envelopes]:
    """Returns what sifting takes off two copies of a series until the first is a mode.

    The envelopes of the first are tied to extrema and ends, those of the second to the middles between
    them, too.

    Shape:
        first, second: (L,).
    """
    taken = [Envelopes(np.zeros(len(first)), np.zeros(len(first))) for _ in range(2)]
    smallest = ROUNDING * np.ptp(first)
    for _ in range(MOST):
        if min(map(len, extrema(first, "extrema"))) < 1:
            break
        before = first
        found = _enveloped(first, "ends"), _enveloped(second, "middles")
        rests = (
            rest - (part.upper + part.lower) / 2
            for rest, part in zip((first, second), found, strict=True)
        )
        # Both envelopes go through the ends: what is left there is rounding, whose sign decides nothing.
        first, second = (np.where(np.abs(rest) <= smallest, 0.0, rest) for rest in rests)
        taken = [
            Envelopes(old.upper + part.upper, old.lower + part.lower)
            for old, part in zip(taken, found, strict=True)
        ]
        if _is_mode(first, before):
            break
    return taken[0], taken[1]


@system(
    id=157,
    name="ACEEMD",
    paper="https://arxiv.org/abs/2404.07969",
    claim="ends as further knots: at its ends the slow part stays near the clean series, where that of plain "
    "empirical mode decomposition runs away; its share that is tied to middles follows the series itself",
    test="packages/timeseries/tests/models/test_aceformer.py",
)
def aceemd(
    x: np.ndarray, *, alpha: float = 0.5, noise: float = 0.0, pairs: int = 1, seed: int = 0
) -> Envelopes:
    """Returns the envelopes of the slow part of a series; its fastest mode, mostly noise, is gone.

    Two copies are sifted together and mixed. The paper adds noise to one and subtracts it from the other;
    its code does not, and neither does the default: on noisy sines neither noise nor middles came nearer
    to the clean series than ends alone. What is left of a copy where both envelopes touch it counts as zero:
    in the authors' code its rounding decides how often a series turns, so that single and double precision
    gave different slow parts. Types of fewer digits (bfloat16) still move values enough for others.

    Args:
        x: The series.
        alpha: Share of the copy whose envelopes are tied to middles.
        noise: Deviation of the noise, as a share of that of the series.
        pairs: How many pairs of copies are averaged; more than 1 make a difference only with noise.
        seed: Of the noise.

    Shape:
        x: (L,).

    Raises:
        UserError: If ``alpha`` is not between 0 and 1, or there is no pair.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2404.07969, section 3.2. A series without a turn is its own
        slow part; the authors' code returns 0 for it.
    """
    if not 0 <= alpha <= 1 or pairs < 1:
        raise UserError(f"alpha {alpha} must lie between 0 and 1, pairs {pairs} be 1 or more")
    x = x.astype(float)
    random = np.random.default_rng(seed)
    scale = noise * float(x.std())
    upper, lower = np.zeros(len(x)), np.zeros(len(x))
    for _ in range(pairs):
        added = scale * random.standard_normal(len(x))
        first, second = sift_together(x + added, x - added)
        if not first.upper.any() and not first.lower.any():
            first = second = Envelopes(x, x)
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
        x: (B, L, N). Output: (B, L, factor * N): the series, their upper and their lower envelopes.
    """

    factor = 3

    def __init__(self, *, alpha: float = 0.5, noise: float = 0.0, pairs: int = 1) -> None:
        super().__init__()
        self.alpha, self.noise, self.pairs = alpha, noise, pairs

    def envelopes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the upper and the lower envelopes, each like ``x``."""
        if torch.compiler.is_exporting():
            raise UserError(
                f"{type(self).__name__} cannot be exported: sifting decides by the numbers how long it goes "
                "on; export an ACEFormer with envelopes=None"
            )
        if not x.shape[0]:
            return x, x
        series = x.detach().cpu().double().transpose(1, 2).flatten(0, 1).numpy()
        options = {"alpha": self.alpha, "noise": self.noise, "pairs": self.pairs}
        found = np.stack([np.stack(aceemd(row, **options)) for row in series], axis=1)
        upper, lower = (
            torch.from_numpy(found).to(x).unflatten(1, (x.shape[0], x.shape[2])).transpose(2, 3)
        )
        return upper, lower

    def forward(self, x: Tensor) -> Tensor:
        """Returns series and envelopes."""
        return torch.cat([x, *self.envelopes(x)], dim=2)


class SlowPart(AliasedEnvelopes):
    """Windows without their fastest mode, in the place of the series, as the authors' code has it.

    Shape:
        x: (B, L, N). Output: the same.
    """

    factor = 1

    def forward(self, x: Tensor) -> Tensor:
        """Returns the slow parts."""
        upper, lower = self.envelopes(x)
        return (upper + lower) / 2
