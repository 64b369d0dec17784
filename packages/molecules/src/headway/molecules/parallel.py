"""Work on many molecules, by several processes if asked."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from headway.core.errors import UserError

# Molecules that a process takes at a time.
CHUNK = 500
T = TypeVar("T")


def in_chunks(
    function: Callable[[Sequence[str]], Sequence[T]],
    smiles: Sequence[str],
    *,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Iterator[T]:
    """Yields what a function makes of molecules, in their order.

    Args:
        function: Takes some molecules, gives one result for each; it stands at the head of a module.
        smiles: The molecules.
        workers: Processes that share the work; 0 does it here.
        progress: Is told how many are done.

    Raises:
        UserError: If ``workers`` is below 0.
    """
    if workers < 0:
        raise UserError(f"workers is {workers}; it must be at least 0")
    chunks = [smiles[first : first + CHUNK] for first in range(0, len(smiles), CHUNK)]

    def given_out(results: Iterator[Sequence[T]]) -> Iterator[T]:
        for found in results:
            yield from found
            if progress is not None:
                progress(len(found))

    if not workers:
        yield from given_out(map(function, chunks))
        return
    # RDKit and torch have threads of their own, which a fork would not take along.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from given_out(pool.map(function, chunks))
