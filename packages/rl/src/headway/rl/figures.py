"""Pictures of what a policy does."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from headway.core.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from headway.rl.mazes import Maze
    from headway.rl.metrics.maze_probing import MazeProbing


def return_figure(
    totals: Mapping[float, Sequence[float]], *, seen: Mapping[str, float] | None = None
) -> "Figure":
    """Draws the return that came about over the return that was asked for.

    Args:
        totals: Returns of the episodes by target.
        seen: ``least``, ``median`` and ``most`` of the returns in the training data.
    """
    figure = new_figure(5.5, 4.5)
    axes = figure.add_subplot()
    targets = sorted(totals)
    means = [float(np.mean(totals[target])) for target in targets]
    span = (max(targets) - min(targets)) or 1.0
    random = np.random.default_rng(0)
    for target in targets:
        places = target + 0.02 * span * random.standard_normal(len(totals[target]))
        axes.scatter(places, totals[target], s=9, alpha=0.35, color="tab:blue")
    axes.plot(targets, means, marker="o", color="tab:blue", label="mean of the episodes")
    ends = [min(targets), max(targets)]
    axes.plot(ends, ends, linestyle="--", color="grey", label="as asked")
    for value in set((seen or {}).values()):
        names = " and ".join(name for name, other in (seen or {}).items() if other == value)
        axes.axhline(value, linewidth=0.8, linestyle=":", color="tab:orange")
        axes.annotate(f"{names} of the data", (sum(ends) / 2, value), fontsize=7, ha="center")
    axes.set(xlabel="return asked for", ylabel="return")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def maze_probing_figure(found: "MazeProbing", mazes: Sequence["Maze"]) -> "Figure":
    """Draws how much of a maze a probe reads at each depth, and one maze beside what was read of it.

    Args:
        found: Of ``headway.rl.metrics.maze_probing.probe_maze``.
        mazes: What it was given.
    """
    from headway.rl.metrics.maze_probing import maze_of

    figure = new_figure(11, 3.6)
    curves, true, read = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    depths = range(len(found.trained))
    for probes, name, colour in (
        (found.trained, "trained", "tab:blue"),
        (found.untrained, "untrained", "tab:orange"),
    ):
        curves.plot(depths, [one.accuracy for one in probes], "o-", color=colour, label=name)
    curves.axhline(found.trained[0].chance, linestyle="--", color="grey", label="chance")
    curves.set(xlabel="blocks passed", ylabel="passages read rightly", xticks=list(depths))
    curves.grid(alpha=0.3)
    curves.legend(fontsize="small")
    best = max(found.trained, key=lambda one: one.accuracy)
    maze = mazes[int(best.held_out[0])]
    for axes, one, title in (
        (true, maze, "the maze"),
        (read, maze_of(best.answers[0].numpy(), maze), f"read behind {best.layer}"),
    ):
        draw_maze_on(axes, one, title)
    return figure


def draw_maze_on(axes: "Axes", maze: "Maze", title: str) -> None:
    """Draws a maze: start green, goal red."""
    axes.imshow(np.pad(maze.picture, 1), cmap="gray", vmin=0, vmax=1)
    for cell, colour in ((maze.start, "tab:green"), (maze.goal, "tab:red")):
        row, column = divmod(cell, maze.size)
        axes.plot(2 * column + 1, 2 * row + 1, "o", color=colour)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize="small")
