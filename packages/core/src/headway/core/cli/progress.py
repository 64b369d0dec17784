"""Progress on stderr, so that a table on stdout stays clean; silent where nobody watches."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

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
