"""Order flow of a market of zero intelligence: what comes next depends on the book, and on who came last."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError

TICKS = (
    400  # prices that the book knows; it is moved back to their middle when it comes near an end
)
KINDS = ("limit", "cancel", "market")
NUMBERS = ("kind", "side", "size", "depth", "wait")


class OrderFlow(NamedTuple):
    """Orders, (N, 5) as ``NUMBERS`` names them, and the book before each, (N, 4 * levels).

    A kind is -1 (limit), 0 (cancel) or 1 (market), a side 1 (buy) or -1 (sell); size and wait are logarithms;
    depth counts ticks from the best price of the other side. A book holds, level by level, the ticks from the
    middle and the logarithms of the volume, of asks and bids.
    """

    orders: NDArray[np.float64]
    books: NDArray[np.float64]


def zero_intelligence(
    number: int,
    *,
    levels: int = 5,
    market: float = 4.0,
    limit: float = 0.4,
    decay: float = 0.6,
    cancel: float = 0.05,
    memory: float = 0.7,
    seed: int = 0,
) -> OrderFlow:
    """Returns orders that arrive as independent Poisson processes, whatever anybody might know.

    Limit orders come at every distance from the other side's best price, the more often the nearer; what is
    in the book is cancelled at a constant rate; the side of a market order repeats that of the last one
    with a probability, as it does in real markets.

    Args:
        number: Orders.
        levels: Of the snapshots.
        market: Market orders per unit of time.
        limit: Limit orders per unit of time and side, one tick from the other side's best price.
        decay: That rate falls with this power of the distance.
        cancel: Cancellations per unit of time and volume in the book.
        memory: Probability that a market order has the side of the last one; 0.5 is none.
        seed: Of the draws.

    Raises:
        UserError: If a rate is not positive, or the memory no probability.

    Source:
        Cont, Stoikov and Talreja 2010, https://doi.org/10.1287/opre.1090.0780; the memory: Lillo and Farmer
        2004, https://arxiv.org/abs/cond-mat/0311053.
    """
    rates = {"market": market, "limit": limit, "cancel": cancel}
    for name, rate in rates.items():
        if rate <= 0:
            raise UserError(f"{name} is a rate above 0, got {rate}")
    if not 0 <= memory <= 1 or number < 1 or levels < 1:
        raise UserError(
            f"memory {memory} is a probability, number {number} and levels {levels} are at least 1"
        )
    random = np.random.default_rng(seed)
    reach = 20
    arrival = limit / np.arange(1, reach + 1) ** decay
    book = _Book(random)
    orders, books = np.zeros((number, len(NUMBERS))), np.zeros((number, 4 * levels))
    last = 1
    for place in range(-300, number):  # what it begins with is forgotten
        ask, bid = book.best(-1), book.best(1)
        sums = {side: float(book.volume[side].sum()) for side in (1, -1)}
        total = market + 2 * arrival.sum() + cancel * (sums[1] + sums[-1])
        wait = random.exponential(1 / total)
        draw = random.random() * total
        if draw < market:
            side = last if random.random() < memory else -last
            last, kind, size, depth = side, 1, 1 + random.geometric(0.5), 0
        elif draw < market + 2 * arrival.sum():
            side = 1 if random.random() < 0.5 else -1
            depth = 1 + int(random.choice(reach, p=arrival / arrival.sum()))
            kind, size = -1, 1 + random.geometric(0.4)
        else:
            side = 1 if random.random() < sums[1] / (sums[1] + sums[-1]) else -1
            price = int(random.choice(TICKS, p=book.volume[side] / sums[side]))
            kind, size = 0, 1
            depth = (ask - price) if side == 1 else (price - bid)
        if place >= 0:
            orders[place] = kind, side, math.log(size), depth, math.log(wait)
            books[place] = book.snapshot(levels)
        book.apply(kind, side, size, depth)
    return OrderFlow(orders, books)


class _Book:
    """Volumes at prices, of buyers (1) and sellers (-1)."""

    def __init__(self, random: np.random.Generator) -> None:
        middle = TICKS // 2
        self.random = random
        self.volume = {side: np.zeros(TICKS) for side in (1, -1)}
        self.volume[1][middle - 10 : middle] = 5
        self.volume[-1][middle + 1 : middle + 11] = 5

    def best(self, side: int) -> int:
        """Returns the best price of a side; one far away where nobody is left."""
        places = np.flatnonzero(self.volume[side])
        if not len(places):
            other = self.volume[-side].nonzero()[0]
            middle = TICKS // 2 if not len(other) else (other.max() if side == -1 else other.min())
            return int(middle) - 10 * side
        return int(places.max() if side == 1 else places.min())

    def snapshot(self, levels: int) -> NDArray[np.float64]:
        """Returns ticks from the middle and logarithms of the volume, asks first."""
        middle = (self.best(1) + self.best(-1)) / 2
        found = []
        for side in (-1, 1):
            places = np.flatnonzero(self.volume[side])
            places = (places if side == -1 else places[::-1])[:levels]
            ticks, sizes = np.full(levels, 30.0), np.zeros(levels)  # where nobody is: far away
            ticks[: len(places)] = np.abs(places - middle)
            sizes[: len(places)] = np.log1p(self.volume[side][places])
            found += [ticks, sizes]
        return np.concatenate(found)

    def apply(self, kind: int, side: int, size: int, depth: int) -> None:
        """Changes the book by an order."""
        other = self.best(-side)
        if kind == 1:
            left = float(size)
            while left > 0 and self.volume[-side].any():
                price = self.best(-side)
                taken = min(left, self.volume[-side][price])
                self.volume[-side][price] -= taken
                left -= taken
        else:
            price = int(np.clip(other - side * depth, 0, TICKS - 1))
            self.volume[side][price] += size if kind == -1 else -1
        self._recentre()

    def _recentre(self) -> None:
        middle = (self.best(1) + self.best(-1)) // 2
        if abs(middle - TICKS // 2) > TICKS // 4:
            for side in (1, -1):
                self.volume[side] = np.roll(self.volume[side], TICKS // 2 - middle)
