"""Metrics of several runs over the course of their training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from headway.core.errors import UserError
from headway.core.figures import new_figure
from headway.core.training.metrics_file import read_metrics
from headway.core.training.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVER = ("step", "epoch", "cpu_minutes")


class Curve(NamedTuple):
    """One metric of one run.

    Args:
        run: The run folder.
        places: Where it was measured, in steps, epochs or minutes.
        values: What was measured there.
    """

    run: Path
    places: list[float]
    values: list[float]


def common_metric(runs: Sequence[Path]) -> str:
    """Returns the first validation metric that all runs have, a loss if there is no other.

    Raises:
        UserError: If there is none.
    """
    columns = [read_metrics(RunFolder(run).metrics) for run in runs]
    shared = [name for name in columns[0] if all(name in other for other in columns)]
    known = [name for name in shared if name.startswith("val_")]
    best = [name for name in known if "loss" not in name]
    if not known:
        raise UserError(
            f"{' and '.join(map(str, runs[:2]))} share no validation metric; name a --metric of "
            f"{', '.join(columns[0]) or 'none'}"
        )
    return (best or known)[0]


def read_curves(runs: Sequence[Path], metric: str, over: str) -> dict[str, list[Curve]]:
    """Returns the curves of the runs of each recipe: of each folder that runs lie in.

    Raises:
        UserError: If a run has no such metric.
    """
    found: dict[str, list[Curve]] = {}
    for run in runs:
        columns = read_metrics(RunFolder(run).metrics)
        if metric not in columns:
            raise UserError(f"{run} has no {metric}; it has {', '.join(columns) or 'no metrics'}")
        both = zip(columns[over], columns[metric], strict=True) if over in columns else ()
        points = [
            (place, value) for place, value in both if place is not None and value is not None
        ]
        if not points:
            raise UserError(f"{run} has no {metric} over {over}")
        places, values = (list(one) for one in zip(*points, strict=True))
        where = run.resolve().parent
        found.setdefault("/".join(where.parts[-2:]), []).append(Curve(run, places, values))
    return found


def draw(curves: dict[str, list[Curve]], metric: str, over: str) -> "Figure":
    """Draws each run thin, and the mean of the runs of one name thick where all of them were measured."""
    figure = new_figure(6.5, 4.0)
    axes = figure.add_subplot()
    for number, (name, runs) in enumerate(curves.items()):
        colour = f"C{number % 10}"
        for one in runs:
            axes.plot(one.places, one.values, color=colour, alpha=0.35, linewidth=0.9)
        places, means = mean_curve(runs)
        said = f"{name} ({len(runs)})"
        axes.plot(places, means, color=colour, linewidth=2, marker=".", label=said)
    axes.set(xlabel=over.replace("_", " "), ylabel=metric)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def mean_curve(runs: Sequence[Curve]) -> tuple[list[float], list[float]]:
    """Returns the mean of several runs.

    Runs that were measured at other places (in minutes they all are) are read between these, as far as all of
    them go.
    """
    import numpy as np

    begin = max(one.places[0] for one in runs)
    end = min(one.places[-1] for one in runs)
    places = sorted({place for one in runs for place in one.places if begin <= place <= end})
    values = [np.interp(places, one.places, one.values) for one in runs]
    return places, np.mean(values, axis=0).tolist() if places else []
