"""Static covariates of a long frame: numbers, and words that are numbered as a model learned them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headway.core.errors import InputError
from headway.core.training.invalid import InvalidItems
from headway.timeseries.data.table import read_numbers


def ordered(values: Any, order: Any) -> Any:
    """Returns rows in an order, as they are if it is None."""
    return values if order is None else values[order]


@dataclass(frozen=True, kw_only=True, eq=False)
class Static:
    """Static covariates (S, K), the names of their columns, the words of each, and series with others."""

    values: NDArray[np.float64]
    names: list[str]
    words: dict[str, tuple[str, ...]]
    unknown: set[int]


def read_static(
    frame: Any,
    wanted: Sequence[str],
    learned: Mapping[str, Sequence[str]],
    name: str,
    order: Any,
    offsets: Any,
    names: Sequence[str],
    invalid: InvalidItems,
) -> Static:
    """Reads static covariates; words become one column for each word, those of the model if it has some."""
    found, columns = [], []
    words: dict[str, tuple[str, ...]] = {}
    unknown: set[int] = set()
    for column in wanted:
        values = ordered(frame[column].to_numpy(), order)
        each = values[offsets[:-1]]
        for place, series in enumerate(names):
            part = values[offsets[place] : offsets[place + 1]]
            if (pd.isna(part) | (part != each[place])).any():
                raise InputError(
                    f"{name}, series {series}",
                    f"static covariate {column!r} changes or is missing; it must be the same in every row",
                )
        kept = learned.get(column)
        if kept is None and (pd.api.types.is_numeric_dtype(frame[column]) or learned):
            # Numbers, or a column that was numbers in training.
            found.append(ordered(read_numbers(frame[column], name), order)[offsets[:-1]])
            columns.append(column)
            continue
        said = [str(word) for word in each]
        words[column] = tuple(sorted(set(said)) if kept is None else kept)
        for place, word in enumerate(said):
            if word not in words[column] and place not in unknown:
                unknown.add(place)
                reason = (
                    f"static covariate {column!r} is {word!r}, the model knows "
                    f"{', '.join(words[column][:10])}; leave the series out, or train a model with it"
                )
                invalid.add(InputError(f"{name}, series {names[place]}", reason))
        for word in words[column]:
            found.append(np.array([one == word for one in said], dtype=np.float64))
            columns.append(f"{column}={word}")
    values = np.stack(found, axis=1) if found else np.zeros((len(names), 0))
    return Static(values=values.astype(np.float64), names=columns, words=words, unknown=unknown)
