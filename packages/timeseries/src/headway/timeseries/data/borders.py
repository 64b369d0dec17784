"""Where the training, validation and test part of a file lie."""

from collections.abc import Sequence
from dataclasses import dataclass

from headway.core.errors import UserError

# Rows at which training, validation and test end: 12, 4 and 4 months of 30 days.
NAMED = {"ett_hour": (8640, 11520, 14400), "ett_minute": (34560, 46080, 57600)}


@dataclass(frozen=True)
class Borders:
    """Rows at which the parts end; a part's first window reads what lies before it.

    Args:
        train: End of the training part, which starts at row 0.
        val: End of the validation part.
        test: End of the test part.
    """

    train: int
    val: int
    test: int

    def part(self, name: str, context_length: int) -> tuple[int, int]:
        """Returns first and last row (exclusive) of ``train``, ``val`` or ``test``, context included."""
        if name == "train":
            return 0, self.train
        start, end = (self.train, self.val) if name == "val" else (self.val, self.test)
        return max(0, start - context_length), end

    def empty(self, name: str) -> bool:
        """Whether ``val`` or ``test`` has no row of its own."""
        start, end = self.part(name, 0)
        return name != "train" and start == end


def find_borders(rows: int, borders: str | Sequence[float]) -> Borders:
    """Returns the borders of a file.

    Args:
        rows: Of the file.
        borders: ``ett_hour`` or ``ett_minute`` for the official borders of the ETT files, or the shares
            of training, validation and test, such as (0.7, 0.1, 0.2).

    Raises:
        UserError: If the name is unknown, the file is too short, or the shares are not three parts of 1.
    """
    if isinstance(borders, str):
        if borders not in NAMED:
            raise UserError(
                f"borders {borders!r} are unknown; use {', '.join(NAMED)}, or three shares such as "
                "0.7 0.1 0.2"
            )
        ends = NAMED[borders]
        if rows < ends[-1]:
            raise UserError(
                f"borders {borders} need {ends[-1]} rows, the file has {rows}; use shares such as "
                "[0.7, 0.1, 0.2]"
            )
        return Borders(*ends)
    shares = tuple(borders)
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UserError(
            f"borders are three shares that add to 1, such as [0.7, 0.1, 0.2]; got {list(shares)}"
        )
    # 0.7 * 10 is 6.999...: the slack keeps whole numbers whole.
    train, test = int(shares[0] * rows + 1e-9), int(shares[2] * rows + 1e-9)
    return Borders(train, rows - test, rows)


def parse_borders(borders: str | Sequence[float]) -> str | tuple[float, ...]:
    """Returns a name of borders, or three shares that may be written as one string."""
    if not isinstance(borders, str):
        return tuple(borders)
    try:
        return tuple(float(share) for share in borders.replace(",", " ").split())
    except ValueError:
        return borders
