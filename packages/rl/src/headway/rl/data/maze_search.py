"""Searches of A* in mazes."""

from headway.core.training import Passed
from headway.rl.data.search import SearchData, SearchOptions
from headway.rl.mazes import DENSITY, Mazes


class MazeSearchData(SearchData):
    """Scattered mazes, what A* does in them and the plans that it finds, as tokens.

    Args:
        size: Cells along one side.
        density: Least and largest share of cells that are walls.
        **search: As of every ``SearchData``: deterministic, reasoning, longest, number, val, test, data_seed,
            batch_size, and of every ``DataModule``.
    """

    def __init__(
        self,
        *,
        size: int = 10,
        density: tuple[float, float] = DENSITY,
        **search: Passed[SearchOptions],
    ) -> None:
        super().__init__(problems=Mazes(size=size, density=density), **search)
