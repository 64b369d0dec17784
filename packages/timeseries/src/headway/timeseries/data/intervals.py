"""Calibrated intervals of a trained model, as its ``preprocessing.json`` keeps them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError


def conformal_offsets(
    notes: Mapping[str, Any], names: Sequence[str], levels: Sequence[float], model: str
) -> NDArray[np.float64]:
    """Returns how far quantiles lie from the point forecast, in scaled units.

    The interval of a series that the model was not calibrated on, or on too few windows, is that of all
    series together. Between
    calibrated intervals widths lie on straight lines.

    Args:
        notes: Contents of ``preprocessing.json``.
        names: Of the series.
        levels: In (0, 1).
        model: Its name, for messages.

    Shape:
        Output: (H, N, levels).

    Raises:
        UserError: If the model has no intervals, none as wide, or saw too few windows for one.
    """
    kept = notes.get("conformal")
    if kept is None:
        raise UserError(
            f"{model} has no calibrated intervals: it was not trained by headway fit with a validation "
            "part, and its answers are points; train it so, or leave out the level"
        )
    known = {name: str(place) for place, name in enumerate(notes.get("names", ()))}
    radii = np.array(
        [kept["series"].get(known.get(name, ""), kept["all"]) for name in names], dtype=float
    )  # (N, percents, H), NaN where the interval is infinite
    # A series with too few windows for one of its own takes that of all series; wider ones stay wider.
    radii = np.where(np.isnan(radii), np.array(kept["all"], dtype=float), radii)
    radii = np.maximum.accumulate(radii, axis=1)
    percents = np.array(kept["percents"], dtype=float)
    found = []
    for level in levels:
        # Without this, 0.1 asks for an interval of 80.00000000000001 percent.
        percent = round(100 * abs(2 * level - 1), 6)
        if percent > percents[-1]:
            raise UserError(
                f"{model} was calibrated for intervals of up to {percents[-1]:g} percent, asked was "
                f"{percent:g}; take a lower level"
            )
        # A point is an interval of width 0 percent.
        place = int(np.searchsorted(percents, percent))
        upper = radii[:, place]
        if place < len(percents) and percents[place] == percent:
            radius = upper
        else:
            below = percents[place - 1] if place else 0.0
            lower = radii[:, place - 1] if place else np.zeros_like(upper)
            share = (percent - below) / (percents[place] - below)
            radius = np.zeros_like(upper) if percent == 0 else lower + share * (upper - lower)
        if np.isnan(radius).any():
            raise UserError(
                f"{model} was calibrated on {kept['windows']} windows, too few for an interval of "
                f"{percent:g} percent; take a lower level, or train with a longer validation part"
            )
        found.append(radius.T * np.sign(level - 0.5))
    return np.stack(found, axis=-1)
