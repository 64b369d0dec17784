"""The step of time: read from all series together, or given; the regular clock that it makes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError
from headway.timeseries.data.clock import FIRST_ROW, moments

MOST = 50_000_000  # stamps of a clock
_DAY = 86400
_MONTHS = {"M": 1, "Q": 3, "Y": 12}
_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
# Share of the stamps of all series that tells what the others should be: a few odd rows change nothing.
_MOST_OF = 0.9


def parse_step(step: Any) -> Any:
    """Returns a step as pandas writes it, or an int for stamps that are numbers.

    Raises:
        UserError: If it is neither.
    """
    text = str(step).strip()
    if text.isdecimal() and int(text) > 0:
        return int(text)
    try:
        offset = pd.tseries.frequencies.to_offset(text)
    except (ValueError, TypeError, OverflowError, AttributeError):
        offset = None
    if offset is None or offset.n < 1:
        raise UserError(
            f"freq {step!r} is no step of time; write h, 15min, D, B (business days), W-MON, MS, ME, QS, YE, "
            "or a whole number for stamps that are numbers"
        )
    return offset.freqstr


def same_step(one: Any, other: Any) -> bool:
    """Returns whether two steps are equally long: 24h and D are, MS and ME, and weeks of any day."""
    return _span(parse_step(one)) == _span(parse_step(other))


def _span(step: Any) -> tuple[str, int]:
    if isinstance(step, int):
        return "number", step
    offset: Any = pd.tseries.frequencies.to_offset(step)
    if isinstance(offset, pd.offsets.Tick):
        return "time", offset.nanos
    days = {pd.offsets.Day: 1, pd.offsets.Week: 7}.get(type(offset))
    if days is not None:
        return "time", days * offset.n * _DAY * 10**9
    kind = offset.rule_code.split("-")[0]
    if kind in ("B", "C"):
        return "business", offset.n
    if kind[-1:] in ("S", "E") and kind[-2:-1] in _MONTHS:
        return "months", _MONTHS[kind[-2]] * offset.n
    return offset.freqstr, 1


def infer_step(
    stamps: pd.Index, offsets: Sequence[int] | NDArray[np.int64], name: str, usual: Any = None
) -> Any:
    """Returns the step that most neighbouring stamps of all series have.

    Args:
        stamps: Of the series, one behind the other.
        offsets: Where each begins, and where the last one ends.
        name: Of the file, for messages.
        usual: A step that is taken if the stamps fit it, such as that of a trained model: five days
            from Monday to Friday are days and business days alike.

    Raises:
        InputError: If no series has two rows in order.
    """
    values, second = _numbers(stamps)
    inside = np.ones(max(len(values) - 1, 0), dtype=bool)
    inside[np.asarray(offsets[1:-1], dtype=np.int64) - 1] = False
    distances = np.diff(values)[inside]
    if not (distances > 0).any():
        raise InputError(
            name,
            "has no two rows of a series, in order, that would tell the step of time; give freq",
        )
    if usual is not None and _fits(stamps, inside, usual):
        return usual
    if not isinstance(stamps, pd.DatetimeIndex):
        return int(_covering(distances[distances > 0]))
    local = stamps.tz_localize(None) if stamps.tz is not None else stamps
    if stamps.tz is not None:
        # A day is 23 to 25 hours long where summer time begins or ends.
        here = np.diff(_numbers(local)[0])[inside]
        here = here[here > 0]
        if len(here) and _usual(here) % (_DAY * second) == 0:
            distances = here
    distances = distances[distances > 0]
    step, day = int(_covering(distances)), _DAY * second
    return (
        (_months(local, inside) if _usual(distances) >= 28 * day else None)
        or (_business(local, inside) if step == day else None)
        or (_week(local, step // (7 * day)) if step % (7 * day) == 0 else None)
        or _tick(step, second)
    )


def clock_of(stamps: pd.Index, step: Any, name: str) -> pd.Index:
    """Returns the regular stamps from the first to the last one.

    Stamps that lie beside most others, such as at another minute, are not on it.

    Raises:
        InputError: If the step does not suit the stamps, there are none, or there would be far too many.
    """
    if not len(stamps):
        raise InputError(name, "has no rows below its header")
    times = isinstance(stamps, pd.DatetimeIndex)
    if times == isinstance(step, int):
        kind = "moments, the step is the number" if times else "numbers, the step is"
        raise InputError(name, f"its stamps are {kind} {step}; give freq as the stamps need it")
    kind, size = _span(step)
    values, second = _numbers(stamps)
    spans = {
        "number": 1,
        "time": second / 1e9,
        "business": _DAY * second,
        "months": 28 * _DAY * second,
    }
    count = (int(values.max()) - int(values.min())) / max(size * spans.get(kind, 1), 1e-9)
    if count > MOST:
        raise InputError(
            name,
            f"reaches from {stamps.min()} to {stamps.max()}, about {count:.0f} steps of {step}; a stamp is "
            "far from the others, or freq is too short",
        )
    if not times:
        rest = values % step
        first = int(values[rest == _usual(rest)].min())
        return pd.Index(np.arange(first, int(values.max()) + 1, step))
    local: Any = stamps.tz_localize(None) if stamps.tz is not None else stamps  # pyright: ignore
    offset: Any = pd.tseries.frequencies.to_offset(step)
    fixed = isinstance(offset, pd.offsets.Tick)
    numbers = values if fixed else _numbers(local)[0]
    length = max(size * second // 10**9, 1) if kind == "time" else _DAY * second
    if isinstance(offset, pd.offsets.Week):
        length = _DAY * second
    rest = numbers % length
    able = np.flatnonzero(rest == _usual(rest))
    for place in able[np.argsort(values[able], kind="stable")]:
        if fixed or isinstance(offset, pd.offsets.Day) or offset.is_on_offset(local[place]):
            return pd.date_range(stamps[place], stamps.max(), freq=step)
    raise InputError(name, f"has no stamp on the step {step}; give another freq")


def regular(
    stamps: pd.Index, name: str, *, freq: Any = None, usual: Any = None
) -> tuple[pd.Index, Any, NDArray[np.int64]]:
    """Returns the clock of one column of stamps, its step, and the place of each stamp on the clock.

    Between the stamps there may be others on the clock if the step is given, or one of the calendar: a
    holiday is no business day. Hours and days that are missing are asked for.

    Args:
        stamps: In the order of the file.
        name: Of the file, for messages.
        freq: The step; read from the stamps if None.
        usual: A step that is taken if the stamps fit it.

    Raises:
        InputError: If stamps repeat, go back, or are not equally far apart; it names the row.
    """
    if len(stamps) < 2 and freq is None:
        raise InputError(name, f"has {len(stamps)} rows; a step of time needs at least 2")
    values = moments(stamps)
    steps = values[1:] - values[:-1]
    zero = np.zeros((), dtype=steps.dtype)
    for wrong, problem in ((steps == zero, "is the same stamp as"), (steps < zero, "is before")):
        if wrong.any():
            place = int(np.argmax(wrong)) + 1
            row = place + FIRST_ROW
            raise InputError(
                name, f"row {row} ({stamps[place]}) {problem} row {row - 1} ({stamps[place - 1]})"
            )
    step = infer_step(stamps, [0, len(stamps)], name, usual) if freq is None else parse_step(freq)
    clock = clock_of(stamps, step, name)
    places = clock.get_indexer(stamps)
    tight = freq is None and _span(step)[0] in ("number", "time")
    wrong = np.flatnonzero((places[1:] < 0) | (places[:-1] < 0) | (tight & (np.diff(places) != 1)))
    if len(wrong):
        place = int(wrong[0]) + 1
        found = steps[place - 1]
        if isinstance(stamps, pd.DatetimeIndex):
            found = pd.Timedelta(found)
        expected = step
        if _span(step)[0] == "time":
            expected = pd.Timedelta(_span(step)[1], "ns")
        raise InputError(
            name,
            f"row {place + FIRST_ROW} ({stamps[place]}) is {found} after the row above, the step is "
            f"{expected}; add the missing rows with empty values, or remove the extra one"
            + ("; with a freq, missing rows are missing values" if freq is None else ""),
        )
    return clock, step, places


def _numbers(stamps: pd.Index) -> tuple[NDArray[np.int64], int]:
    """Returns stamps as whole numbers, and how many of them a second is."""
    if not isinstance(stamps, pd.DatetimeIndex):
        return np.asarray(stamps, dtype=np.int64), 1
    if stamps.unit in ("s", "ms"):
        stamps = stamps.as_unit("us")
    return moments(stamps).astype(np.int64), {"us": 10**6, "ns": 10**9}[stamps.unit]


def _usual(values: NDArray[np.int64]) -> int:
    kinds, counts = np.unique(values, return_counts=True)
    return int(kinds[counts.argmax()])


def _covering(distances: NDArray[np.int64]) -> int:
    """Returns the usual distance, or a shorter one where most distances are no multiple of that."""
    usual = _usual(distances)
    if (distances % usual == 0).mean() >= _MOST_OF:
        return usual
    shared = int(np.gcd.reduce(distances))
    for step in sorted({*np.unique(distances).tolist()[:1000], shared}, reverse=True):
        if (distances % step == 0).mean() >= _MOST_OF and distances.mean() <= 10 * step:
            return step
    return usual


def _tick(size: int, second: int) -> str:
    day = _DAY * second
    if size % day == 0:
        return "D" if size == day else f"{size // day}D"
    nanoseconds = size * (10**9 // second)
    found: Any = pd.Timedelta(nanoseconds, "ns")
    return pd.tseries.frequencies.to_offset(found).freqstr


def _week(stamps: pd.DatetimeIndex, number: int) -> str:
    day = _DAYS[_usual(np.asarray(stamps.day_of_week, dtype=np.int64))]
    return f"W-{day}" if number == 1 else f"{number}W-{day}"


def _business(stamps: pd.DatetimeIndex, inside: NDArray[np.bool_]) -> str | None:
    """Returns business days if some step leaves a weekend out and no more than a stray stamp lies on one."""
    weekday = np.asarray(stamps.day_of_week)
    days = np.diff(_numbers(stamps.normalize())[0]) // (_DAY * _numbers(stamps)[1])
    over = inside & (weekday[:-1] < 5) & (days > 1) & (weekday[:-1] + days > 6)
    return "B" if over.any() and (weekday >= 5).mean() <= 0.01 else None


def _months(stamps: pd.DatetimeIndex, inside: NDArray[np.bool_]) -> str | None:
    """Returns a step of months, quarters or years, if stamps are their first or last (business) days."""
    months = np.asarray(stamps.year * 12 + stamps.month - 1, dtype=np.int64)
    distances = np.diff(months)[inside]
    distances = distances[distances > 0]
    if not len(distances):
        return None
    number = _covering(distances)
    phase = _usual(months % number)
    first, last = pd.offsets.BMonthBegin(), pd.offsets.BMonthEnd()
    for kind, there in (
        ("S", stamps.day == 1),
        ("E", stamps.day == stamps.days_in_month),
        ("BS", [first.is_on_offset(one) for one in stamps[:1000]]),
        ("BE", [last.is_on_offset(one) for one in stamps[:1000]]),
    ):
        if np.mean(there) < _MOST_OF:
            continue
        before, edge = kind[:-1], kind[-1]
        month = _NAMES[phase % 12]
        if number == 12:
            return f"{before}Y{edge}-{month}"
        if number == 3:
            # Called by the first month that a quarter begins with, or the last that one ends with.
            place = phase if edge == "S" else 9 + phase
            return f"{before}Q{edge}-{_NAMES[place]}"
        return f"{before}M{edge}" if number == 1 else f"{number}{before}M{edge}"
    return None


def _fits(stamps: pd.Index, inside: NDArray[np.bool_], step: Any) -> bool:
    """Returns whether all stamps are on the clock of a step, most of them one step apart."""
    try:
        clock = clock_of(stamps, step, "")
    except (InputError, UserError, ValueError):
        return False
    places = clock.get_indexer(stamps)
    distances = np.diff(places)[inside]
    return bool((places >= 0).all() and len(distances) and _usual(distances) == 1)
