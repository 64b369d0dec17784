"""Which published systems the code implements: a decorator whose arguments are read from the source."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def system(*, id: int | None, name: str, paper: str, claim: str, test: str) -> Callable[[T], T]:
    """Says that a class or function implements a published system; returns it unchanged.

    ``headway ls systems`` reads the arguments from the source without importing it, so they must be
    literals.

    Args:
        id: Number in the project's list of papers, or None.
        name: Name of the system.
        paper: Address of the paper.
        claim: What the system claims, in a sentence that a test can check.
        test: Path of the test that fails when the plain part stands in its place.
    """

    def mark(thing: T) -> T:
        return thing

    return mark
