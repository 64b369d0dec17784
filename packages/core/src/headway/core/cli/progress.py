"""Progress on stderr, so that a table on stdout stays clean; silent where nobody watches."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, track

T = TypeVar("T")


def with_progress(items: Iterable[T], doing: str, *, total: int | None = None) -> Iterable[T]:
    """Yields the items and draws a bar.

    Args:
        items: What is worked on.
        doing: One word beside the bar.
        total: How many there are; their ``len`` if None.
    """
    console = Console(stderr=True)
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # pyright: ignore[reportArgumentType]
    return track(
        items,
        description=doing,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def progress_bar(doing: str, *, total: int) -> Iterator[Callable[[int], None]]:
    """Draws a bar for work that ends several items at a time; yields what is told how many.

    Args:
        doing: One word beside the bar.
        total: How many items there are.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda ended: bar.update(task, advance=ended)
