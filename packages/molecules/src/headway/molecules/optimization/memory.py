"""The best molecules so far, from which something is learned again."""

import random
from typing import Any, NamedTuple


class Remembered(NamedTuple):
    """A molecule in the memory.

    Args:
        tokens: As it was written, from start to end.
        score: What it was worth.
        prior: Its log-likelihood under the prior.
    """

    tokens: list[int]
    score: float
    prior: float


class Memory:
    """Keeps the best different molecules and gives some of them back (REINVENT's inception).

    Args:
        size: Most molecules.
        count: So many come back in a step.

    Source:
        Blaschke et al. 2020, https://doi.org/10.1021/acs.jcim.0c00915.
    """

    def __init__(self, *, size: int = 100, count: int = 10) -> None:
        self.size, self.count = size, count
        self.held: dict[str, Remembered] = {}

    def add(self, canonical: str, one: Remembered) -> None:
        """Takes a molecule; that of least score goes where there are too many."""
        if one.score <= 0 or canonical in self.held:
            return
        self.held[canonical] = one
        if len(self.held) > self.size:
            del self.held[min(self.held, key=lambda key: self.held[key].score)]

    def draw(self, source: random.Random) -> list[Remembered]:
        """Returns some of them, none twice; all where there are few."""
        held = list(self.held.values())
        return source.sample(held, min(self.count, len(held)))

    def state_dict(self) -> dict[str, Any]:
        """Returns what it holds."""
        return {text: list(one) for text, one in self.held.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what it held."""
        self.held = {text: Remembered(*one) for text, one in state.items()}
