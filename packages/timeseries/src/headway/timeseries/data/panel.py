"""Many series of different lengths on one clock, with covariates."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.timeseries.data.clock import following, moments
from headway.timeseries.data.frames import read_frame
from headway.timeseries.data.statics import ordered, read_static
from headway.timeseries.data.steps import clock_of, infer_step, parse_step
from headway.timeseries.data.table import (
    LONG,
    SeriesTable,
    read_numbers,
    read_stamps,
    table_of,
)

log = logging.getLogger(__name__)
KINDS = ("historical", "future", "static")
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Covariates:
    """Names of the columns of a long frame that are covariates.

    Args:
        historical: Known up to the last value of a series.
        future: Known for the steps to forecast, too, such as holidays or prices.
        static: The same at every moment of a series; words become one column for each word.
        words: Static column -> its words, in the order of their columns, as a model learned them. Another
            word is refused. Read from the frame for columns that are not named.
    """

    historical: Sequence[str] = ()
    future: Sequence[str] = ()
    static: Sequence[str] = ()
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, list[str]]:
        """Returns kind -> names."""
        return {kind: list(getattr(self, kind)) for kind in KINDS}


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """Series one behind the other in one array; each starts somewhere on a common clock.

    Args:
        name: Of the file.
        columns: Names of series, stamp and value in the file.
        clock: Regular stamps from the first to the last one of any series.
        step: Frequency of pandas, or an int for stamps that are numbers.
        names: Of the series.
        first: Place on the clock of the first value of each series.
        offsets: Where each series begins in ``values``, and where the last one ends.
        values: NaN where a value is missing.
        covariates: Names of the columns of the next three.
        historical: Covariates known up to the end, NaN where missing.
        future: Covariates known beyond it; those of the past here.
        static: Of each series.

    Shape:
        first: (S,). offsets: (S + 1,). values: (T,). historical: (T, Kh). future: (T, Kf). static: (S, Ks).
    """

    name: str
    columns: tuple[str, str, str]
    clock: pd.Index
    step: Any
    names: tuple[str, ...]
    first: NDArray[np.int64]
    offsets: NDArray[np.int64]
    values: Floats
    covariates: Covariates = field(default_factory=Covariates)
    historical: Floats
    future: Floats
    static: Floats

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each series."""
        return np.diff(self.offsets)

    def series(self, place: int) -> Floats:
        """Returns the values of one series."""
        return self.values[self.offsets[place] : self.offsets[place + 1]]

    def stamps(self, place: int) -> pd.Index:
        """Returns the stamps of one series."""
        first = self.first[place]
        return self.clock[first : first + self.lengths[place]]

    def after(self, place: int, number: int) -> pd.Index:
        """Returns the stamps that follow a series."""
        return following(self.stamps(place), self.step, number)

    def only(self, wanted: Sequence[int]) -> "Panel":
        """Returns the panel of some series; all of them is the panel itself."""
        if list(wanted) == list(range(len(self.names))):
            return self
        rows = [np.arange(self.offsets[k], self.offsets[k + 1]) for k in wanted]
        chosen = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
        return replace(
            self,
            names=tuple(self.names[k] for k in wanted),
            first=self.first[list(wanted)],
            offsets=np.cumsum([0, *map(len, rows)]),
            values=self.values[chosen],
            historical=self.historical[chosen],
            future=self.future[chosen],
            static=self.static[list(wanted)],
        )


def cut(panel: Panel, steps: int) -> Panel:
    """Returns the panel without the last steps of every series.

    Raises:
        UserError: If nothing of a series would be left.
    """
    if steps == 0:
        return panel
    if (panel.lengths <= steps).any():
        place = int(np.argmin(panel.lengths))
        raise UserError(
            f"{panel.name}, series {panel.names[place]} has {panel.lengths[place]} steps, {steps} are to be "
            "left out; take fewer windows, a shorter horizon, or leave the series out"
        )
    rows = np.concatenate(
        [np.arange(a, b - steps) for a, b in zip(panel.offsets, panel.offsets[1:], strict=False)]
    )
    return replace(
        panel,
        offsets=panel.offsets - steps * np.arange(len(panel.offsets)),
        values=panel.values[rows],
        historical=panel.historical[rows],
        future=panel.future[rows],
    )


def continued(panel: Panel, values: NDArray[Any], future: NDArray[Any]) -> Panel:
    """Returns the panel with further steps of every series; historical covariates are missing there.

    Shape:
        values: (S, H). future: (S, H, Kf).
    """
    steps = values.shape[1]

    def joined(old: Floats, new: NDArray[Any]) -> Floats:
        pairs = zip(panel.offsets[:-1], panel.offsets[1:], new.astype(np.float64), strict=True)
        return np.concatenate([part for a, b, more in pairs for part in (old[a:b], more)])

    unknown = np.full((*values.shape, panel.historical.shape[1]), np.nan)
    return replace(
        panel,
        clock=panel.clock.append(following(panel.clock, panel.step, steps)),
        offsets=panel.offsets + steps * np.arange(len(panel.offsets)),
        values=joined(panel.values, values),
        historical=joined(panel.historical, unknown),
        future=joined(panel.future, future),
    )


def panel_of_table(table: SeriesTable) -> Panel:
    """Returns the series of a table one behind the other."""
    rows, series = table.values.shape
    empty = np.zeros((rows * series, 0), dtype=np.float64)
    return Panel(
        name=table.name,
        columns=LONG[0],
        clock=table.stamps,
        step=table.step,
        names=table.names,
        first=np.zeros(series, dtype=np.int64),
        offsets=rows * np.arange(series + 1),
        values=table.values.T.astype(np.float64).ravel(),
        historical=empty,
        future=empty,
        static=np.zeros((series, 0), dtype=np.float64),
    )


def read_panel(
    path: str | Path,
    *,
    covariates: Covariates | None = None,
    invalid: InvalidItems | None = None,
    freq: str | None = None,
    usual: Any = None,
) -> Panel:
    """Reads a CSV or parquet file, long (unique_id, ds, y) or wide (stamps, a column per series).

    Args:
        path: The file.
        covariates: Which columns are covariates; a wide file has none.
        invalid: What to do with a series that cannot be used; by default it raises.
        freq: Step of time, such as ``h``, ``B`` or ``MS``; read from all series together if None.
        usual: A step that is taken if the stamps fit it.

    Raises:
        InputError: If the file, or a series of it, cannot be used.
        UserError: If covariates of a wide file are asked for.
    """
    frame = read_frame(path)
    if any(set(columns) <= set(frame.columns) for columns in LONG):
        return panel_of(
            frame, str(path), covariates=covariates, invalid=invalid, freq=freq, usual=usual
        )
    wanted = [name for names in (covariates or Covariates()).as_dict().values() for name in names]
    if wanted:
        raise UserError(
            f"the covariates {', '.join(wanted)} are columns of a long file; {path} is wide: write it as "
            f"{', '.join(LONG[0])}, {', '.join(wanted)}"
        )
    return panel_of_table(table_of(frame, str(path), freq=freq, usual=usual))


def side_by_side(panel: Panel) -> bool:
    """Returns whether all series begin and end together."""
    return bool((panel.first == panel.first[0]).all() and (panel.lengths == panel.lengths[0]).all())


def panel_of(
    frame: pd.DataFrame,
    name: str,
    *,
    covariates: Covariates | None = None,
    invalid: InvalidItems | None = None,
    freq: str | None = None,
    usual: Any = None,
) -> Panel:
    """Reads a long frame: ``unique_id, ds, y`` or ``item_id, timestamp, target``, and covariates.

    Rows that are missing within a series, on its clock, are missing values.

    Args:
        frame: The rows of a series stand together or apart, in the order of time.
        name: For messages.
        covariates: Which columns are covariates.
        invalid: What to do with a series that cannot be used; by default it raises.
        freq: Step of time, such as ``h``, ``B`` or ``MS``; read from all series together if None.
        usual: A step that is taken if the stamps fit it.

    Raises:
        InputError: It names the series, the value and what to do.
    """
    covariates = covariates or Covariates()
    invalid = invalid or InvalidItems("raise", "series")
    columns = next((c for c in LONG if set(c) <= set(frame.columns)), None)
    if columns is None:
        raise InputError(
            name,
            f"has the columns {list(frame.columns)[:8]}; a long frame has "
            f"{' or '.join(map(', '.join, LONG))}",
        )
    for kind, wanted in covariates.as_dict().items():
        for column in wanted:
            if column not in frame.columns or column in columns:
                others = ", ".join(str(c) for c in frame.columns if c not in columns) or "none"
                raise InputError(name, f"has no {kind} covariate {column!r}; there are: {others}")
    if bool(frame[columns[0]].isna().to_numpy().any()):
        raise InputError(name, f"column {columns[0]!r} has rows without the name of a series")
    codes, names = pd.factorize(frame[columns[0]])
    order = np.argsort(codes, kind="stable") if (np.diff(codes) < 0).any() else None
    counts = np.bincount(codes, minlength=len(names))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    del codes
    stamps = ordered(read_stamps(frame[columns[1]], name), order)
    names = [str(series) for series in names]
    values = ordered(read_numbers(frame[columns[2]], name), order).astype(np.float64)
    dynamic = {
        kind: _columns(frame, getattr(covariates, kind), name, order, len(values))
        for kind in ("historical", "future")
    }
    fixed = read_static(
        frame, covariates.static, covariates.words, name, order, offsets, names, invalid
    )

    step = parse_step(freq) if freq is not None else infer_step(stamps, offsets, name, usual)
    clock = clock_of(stamps, step, name)
    first, kept = np.zeros(len(names), dtype=np.int64), []
    rows: list[Any] = []  # place in the frame of each step, -1 where there is no row
    filled = 0
    for place in range(len(names)):
        start, end = offsets[place], offsets[place + 1]
        if place in fixed.unknown:
            continue
        try:
            found = _places(stamps[start:end], clock, f"{name}, series {names[place]}", step)
        except InputError as error:
            invalid.add(error)
            continue
        gaps = found[-1] - found[0] + 1 - len(found)
        here = np.arange(start, end)
        if gaps:
            here = np.full(found[-1] - found[0] + 1, -1)
            here[found - found[0]] = np.arange(start, end)
            filled += int(gaps)
        first[place] = found[0]
        kept.append(place)
        rows.append(here)
    if not kept:
        raise InputError(name, "has no series that can be used")
    if filled:
        log.warning(f"{name}: {filled} rows that are not there are read as missing values")
    if filled or len(kept) < len(names):
        chosen = np.concatenate(rows)
        absent = chosen < 0
        values = np.where(absent, np.nan, values[chosen])
        dynamic = {
            kind: np.where(absent[:, None], np.nan, found[chosen])
            for kind, found in dynamic.items()
        }
    return Panel(
        name=name,
        columns=columns,
        clock=clock,
        step=step,
        names=tuple(names[k] for k in kept),
        first=first[kept],
        offsets=np.cumsum([0, *map(len, rows)]),
        values=values,
        covariates=Covariates(
            historical=covariates.historical,
            future=covariates.future,
            static=fixed.names,
            words=fixed.words,
        ),
        **dynamic,
        static=fixed.values[kept],
    )


def check_series(panel: Panel, invalid: InvalidItems, shortest: int, why: str) -> Panel:
    """Returns the panel without series that are too short or have no value, if the policy allows.

    Args:
        panel: The series.
        invalid: What to do with a series that cannot be used.
        shortest: Steps that a series needs.
        why: What they are needed for.

    Raises:
        InputError: If the policy is to raise, or no series is left.
    """
    good = []
    for place, series in enumerate(panel.names):
        error = next(_problems(panel, place, shortest, why), None)
        if error is None:
            good.append(place)
        else:
            invalid.add(InputError(f"{panel.name}, series {series}", error))
    if not good:
        raise InputError(
            panel.name, f"none of its {len(panel.names)} series can be used; {invalid.errors[0]}"
        )
    return panel.only(good)


def _problems(panel: Panel, place: int, shortest: int, why: str) -> Iterator[str]:
    values = panel.series(place)
    if len(values) < shortest:
        yield (
            f"has {len(values)} steps, at least {shortest} are needed ({why}); give a longer series, or a "
            "shorter context or horizon"
        )
    known = ~np.isnan(values)
    if not known.any():
        yield "has no value at all"
    span = slice(panel.offsets[place], panel.offsets[place + 1])
    for column, found in zip(panel.covariates.future, panel.future[span].T, strict=True):
        missing = np.isnan(found)
        if missing.any():
            stamp = panel.stamps(place)[int(np.argmax(missing))]
            yield f"has no {column!r} at {stamp}; a future covariate is known at every step"


def _columns(frame: Any, names: Sequence[str], name: str, order: Any, rows: int) -> Floats:
    if not names:
        return np.zeros((rows, 0), dtype=np.float64)
    found = [ordered(read_numbers(frame[column], name), order) for column in names]
    return np.stack(found, axis=1).astype(np.float64)


def _places(stamps: Any, clock: pd.Index, name: str, step: Any) -> NDArray[np.int64]:
    """Returns where the stamps of one series lie on the clock."""
    places = clock.get_indexer(stamps)
    if (places >= 0).all() and (np.diff(places) > 0).all():
        return places
    values = moments(stamps)
    steps = np.diff(values)
    zero = np.zeros((), dtype=steps.dtype)
    for wrong, problem in ((steps == zero, "twice"), (steps < zero, "after a later stamp")):
        if wrong.any():
            stamp = stamps[int(np.argmax(wrong)) + 1]
            remedy = "keep one row" if problem == "twice" else "sort the rows by time"
            raise InputError(name, f"has {stamp} {problem}; {remedy}")
    odd = np.flatnonzero(places < 0)
    more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
    raise InputError(
        name,
        f"{stamps[odd[0]]}{more} is not on the clock of the panel, which starts at {clock[0]} in steps of "
        f"{step}; move or remove the row, or give another freq",
    )


def from_arrays(
    name: str,
    series: Sequence[tuple[str, pd.Index, Any, Any, Any, Any]],
    covariates: Covariates,
    step: Any,
) -> Panel:
    """Puts series that are arrays already on one clock.

    Args:
        name: For messages.
        series: Name, stamps, values (T,), historical (T, Kh), future (T, Kf), static (Ks,) of each.
        covariates: Names of the columns.
        step: Of time.

    Raises:
        InputError: If a series is not on the clock of the first ones.
        UserError: If there is none.
    """
    if not series:
        raise UserError(f"{name} has no series")
    clock = clock_of(series[0][1].append([s[1] for s in series[1:]]), step, name)
    first = [_places(s[1], clock, f"{name}, series {s[0]}", step)[0] for s in series]
    join = [np.concatenate([np.asarray(s[k], dtype=np.float64) for s in series]) for k in (2, 3, 4)]
    return Panel(
        name=name,
        columns=LONG[1],
        clock=clock,
        step=step,
        names=tuple(s[0] for s in series),
        first=np.array(first),
        offsets=np.cumsum([0, *(len(s[2]) for s in series)]),
        values=join[0],
        covariates=covariates,
        historical=join[1],
        future=join[2],
        static=np.stack([np.asarray(s[5], dtype=np.float64) for s in series]),
    )
