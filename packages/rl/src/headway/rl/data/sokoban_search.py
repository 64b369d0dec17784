"""Searches of A* in levels of Sokoban."""

from headway.core.training import Passed
from headway.rl.data.search import SearchData, SearchOptions
from headway.rl.sokoban import Levels


class SokobanSearchData(SearchData):
    """Levels of Sokoban, what A* does in them and the plans that it finds, as tokens.

    No two levels of all parts are the same, turned or mirrored. ``longest`` says how hard they are: a search
    takes about 1,000 tokens at 7 cells and 1 box (half of them 620 or fewer), and with 2 boxes 10,000.

    Args:
        size: Cells along one side, the wall along the border included.
        boxes: Boxes, and docks.
        walls: Walls within.
        **search: As of every ``SearchData``: deterministic, reasoning, longest, number, val, test, data_seed,
            batch_size, and of every ``DataModule``.
    """

    def __init__(
        self, *, size: int = 7, boxes: int = 2, walls: int = 2, **search: Passed[SearchOptions]
    ) -> None:
        super().__init__(problems=Levels(size=size, boxes=boxes, walls=walls), **search)
