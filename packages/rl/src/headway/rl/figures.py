"""Pictures of what a policy does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.core.figures import new_figure
from headway.core.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def tile(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Returns pictures of environments side by side in rows, about as wide as high."""
    columns = int(np.ceil(np.sqrt(len(frames))))
    blank = np.full_like(frames[0], 255)
    filled = [*frames, *[blank] * (-len(frames) % columns)]
    rows = [np.concatenate(filled[at : at + columns], 1) for at in range(0, len(filled), columns)]
    return np.concatenate(rows, axis=0)


def save_video(frames: Sequence[NDArray[np.uint8]], path: Path, *, fps: int) -> None:
    """Writes frames as ``.mp4`` or ``.gif``, whole or not at all.

    Raises:
        UserError: If the ending is another one, or imageio is not installed.
    """
    if path.suffix not in (".mp4", ".gif"):
        raise UserError(f"a video ends in .mp4 or .gif, got {path}")
    try:
        import imageio.v3
    except ImportError:
        raise UserError('videos need imageio: pip install "headway[rl]"') from None
    options: dict[str, Any] = {"fps": fps}
    if path.suffix == ".gif":
        options = {"duration": 1000 // fps, "loop": 0}
    content = imageio.v3.imwrite("<bytes>", np.stack(frames), extension=path.suffix, **options)
    with atomic_write(path) as file:
        file.write(content)  # pyright: ignore[reportArgumentType]
