"""Entries as GluonTS has them: dictionaries of ``start``, ``target`` and features, one for each series."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headway.core.errors import InputError, UserError
from headway.core.reading import read_lines
from headway.core.training.invalid import InvalidItems
from headway.timeseries.data.panel import Covariates, Panel, from_arrays
from headway.timeseries.data.steps import parse_step

# Name of the entry -> kind of covariate.
DYNAMIC = {"past_feat_dynamic_real": "historical", "feat_dynamic_real": "future"}
STATIC = ("feat_static_cat", "feat_static_real")


def read_entries(path: str | Path) -> list[dict[str, Any]]:
    """Reads JSON lines, one entry each.

    Raises:
        InputError: If there is no such file, or a line is no entry; it names the line.
    """
    entries = []
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)  # NaN is a missing value there
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}", f"is no JSON: {error}") from None
        if not isinstance(entry, dict):
            raise InputError(f"{path}, line {number}", "is no object with start and target")
        entries.append(entry)
    return entries


def panel_of_entries(
    entries: Iterable[Mapping[str, Any]],
    name: str,
    *,
    freq: str | None = None,
    invalid: InvalidItems | None = None,
) -> Panel:
    """Reads entries ``{start, target, item_id, feat_static_cat, feat_dynamic_real, ...}``.

    ``feat_dynamic_real`` may be longer than the target: what lies beyond it is of the future, and left
    out here. Covariates are called by their entry and number, such as ``feat_dynamic_real_0``;
    categories become one column each.

    Args:
        entries: Of the series; ``start`` is a stamp, a ``pd.Period`` or a text.
        name: For messages.
        freq: Step of time; that of a ``pd.Period`` if None.
        invalid: What to do with an entry that cannot be used; by default it raises.

    Raises:
        InputError: It names the series and what is wrong.
    """
    invalid = invalid or InvalidItems("raise", "series")
    series = []
    categories: dict[int, set[int]] = {}
    for number, entry in enumerate(entries):
        item = str(entry.get("item_id", number))
        try:
            found = _series(entry, f"{name}, series {item}", item, freq)
        except InputError as error:
            invalid.add(error)
            continue
        series.append(found)
        for place, value in enumerate(found["cat"]):
            categories.setdefault(place, set()).add(value)
    if not series:
        raise InputError(name, "has no series that can be used")
    sizes = {found["sizes"] for found in series}
    if len(sizes) > 1:
        raise InputError(
            name, "its entries have different numbers of features; give all the same ones"
        )
    [(past, future, cats, reals)] = sizes
    columns = [f"feat_static_cat_{k}={c}" for k in range(cats) for c in sorted(categories[k])]
    arrays = []
    for found in series:
        hot = [float(found["cat"][k] == c) for k in range(cats) for c in sorted(categories[k])]
        static = np.array([*hot, *found["real"]])
        arrays.append((*found["arrays"], static))
    return from_arrays(
        name,
        arrays,
        Covariates(
            historical=[f"past_feat_dynamic_real_{k}" for k in range(past)],
            future=[f"feat_dynamic_real_{k}" for k in range(future)],
            static=[*columns, *(f"feat_static_real_{k}" for k in range(reals))],
        ),
        series[0]["step"],
    )


def _series(entry: Mapping[str, Any], name: str, item: str, freq: str | None) -> dict[str, Any]:
    for key in ("start", "target"):
        if key not in entry:
            raise InputError(name, f"has no {key!r}; an entry needs start and target")
    start = entry["start"]
    step = freq or getattr(start, "freqstr", None)
    if step is None:
        raise UserError(f"{name}: the step of time is not known; give freq, such as h or D")
    try:
        target = np.array(
            [np.nan if v is None or v == "NaN" else v for v in entry["target"]], dtype=np.float64
        )
    except (TypeError, ValueError, OverflowError):
        raise InputError(name, "its target is no list of numbers") from None
    if target.ndim != 1 or not len(target):
        raise InputError(
            name, f"its target has the shape {target.shape}; one series of numbers is needed"
        )
    if np.isinf(target).any():
        raise InputError(name, "its target holds infinite values; a missing one is null")
    step = parse_step(step)
    moment = start.to_timestamp() if isinstance(start, pd.Period) else start
    try:
        stamps = pd.date_range(pd.Timestamp(moment), periods=len(target), freq=step)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            name, f"its start {start!r} or freq {step!r} is no time: {error}"
        ) from None
    dynamic = {}
    for key in DYNAMIC:
        try:
            found = np.asarray(entry.get(key, np.zeros((0, len(target)))), dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise InputError(name, f"{key} is no table of numbers") from None
        if found.ndim != 2 or found.shape[1] < len(target):
            raise InputError(
                name,
                f"{key} has the shape {found.shape}; it needs one row for each feature and at least "
                f"{len(target)} columns",
            )
        dynamic[key] = found[:, : len(target)].T
    try:
        cat = [int(value) for value in entry.get(STATIC[0], ())]
        real = [float(value) for value in entry.get(STATIC[1], ())]
    except (TypeError, ValueError, OverflowError):
        raise InputError(name, f"{' or '.join(STATIC)} is no list of numbers") from None
    past, future = dynamic["past_feat_dynamic_real"], dynamic["feat_dynamic_real"]
    return {
        "arrays": (item, stamps, target, past, future),
        "cat": cat,
        "real": real,
        "sizes": (past.shape[1], future.shape[1], len(cat), len(real)),
        "step": stamps.freqstr,
    }
