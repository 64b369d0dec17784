"""Loading a dishwasher as somebody likes it, who has shown it once."""

from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

CATEGORIES = 4
OBJECTS, SHOWN = 6, 6
RACKS = 2
# Category, place (counter or a rack), and where it stands.
FEATURES = CATEGORIES + 1 + RACKS + 2
PREFERENCES = 24 * RACKS**CATEGORIES
# Every third preference is kept for play after training.
HELD_OUT = 3

Which = Literal["training", "held out", "all"]


class Preference:
    """An order of categories, and a rack for each.

    Args:
        number: From 0 to ``PREFERENCES - 1``.
    """

    def __init__(self, number: int) -> None:
        order, racks = divmod(number, RACKS**CATEGORIES)
        left = list(range(CATEGORIES))
        self.order = []
        for size in range(CATEGORIES, 0, -1):
            order, place = divmod(order, size)
            self.order.append(left.pop(place))
        self.racks = [racks >> category & 1 for category in range(CATEGORIES)]

    def first(self, categories: NDArray[np.int64]) -> int:
        """Returns the category that is loaded before the others of those that are left."""
        return min(map(int, categories), key=self.order.index)


class Dishwasher(gymnasium.Env[Any, np.int64]):
    """Six objects of four categories stand on a counter; each step loads one into one of two racks.

    Somebody wants the categories in some order, each in some rack, and has shown it once with other objects.
    There are 384 such preferences. The observation has ``objects`` (6, 9), one row each: category (4), where
    it is (counter, upper, lower rack), two numbers of where it stands; and ``prompt`` (6, 9), the objects of
    the demonstration in the order in which they were loaded, in their racks. Action ``2 i + r`` loads object
    i into rack r; what is loaded already stays. A step pays a sixth if it is as wanted: one of the category
    that comes next, into its rack. An episode has six steps. ``info`` says ``packed``, the share of objects
    in the right rack, and ``disorder``, the edit distance of the order of the categories to the one wanted,
    by the number of objects.

    Args:
        preferences: Which of them come: those of ``training``, those that are ``held out``, or ``all``.
        prompt: Whether the demonstration is of the ``own`` preference or of ``another``.

    Source:
        After Jain et al. 2022, https://arxiv.org/abs/2207.02442, section 4, as symbols.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self, *, preferences: Which = "training", prompt: Literal["own", "another"] = "own"
    ) -> None:
        numbers = range(PREFERENCES)
        kept = {
            "training": [n for n in numbers if n % HELD_OUT],
            "held out": [n for n in numbers if n % HELD_OUT == 0],
            "all": list(numbers),
        }
        self.numbers, self.prompt = kept[preferences], prompt
        self.observation_space = gymnasium.spaces.Dict(
            {
                "objects": gymnasium.spaces.Box(-1, 1, (OBJECTS, FEATURES), np.float32),
                "prompt": gymnasium.spaces.Box(-1, 1, (SHOWN, FEATURES), np.float32),
            }
        )
        self.action_space = gymnasium.spaces.Discrete(OBJECTS * RACKS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Puts objects on the counter, and shows another session of the same person."""
        super().reset(seed=seed, options=options)
        number, other = self.np_random.choice(self.numbers, size=2, replace=False)
        self.preference = Preference(int(number))
        shown = self.preference if self.prompt == "own" else Preference(int(other))
        self.categories = self.np_random.integers(CATEGORIES, size=OBJECTS)
        self.places = np.zeros(OBJECTS, np.int64)
        self.stands = self.np_random.uniform(-1, 1, (OBJECTS, 2))
        self.loaded: list[int] = []
        self.time = 0
        # Every category is shown at least once.
        others = self.np_random.integers(CATEGORIES, size=SHOWN - CATEGORIES)
        seen = np.array(sorted([*range(CATEGORIES), *others], key=shown.order.index))
        racks = np.array([1 + shown.racks[category] for category in seen])
        self.demonstration = _rows(seen, racks, self.np_random.uniform(-1, 1, (SHOWN, 2)))
        return self._observe(), self._said()

    def step(
        self, action: np.int64
    ) -> tuple[dict[str, NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        """Loads an object."""
        chosen, rack = divmod(int(action), RACKS)
        paid = 0.0
        if not self.places[chosen]:
            category = int(self.categories[chosen])
            wanted = self.preference.first(self.categories[self.places == 0])
            if category == wanted and rack == self.preference.racks[category]:
                paid = 1 / OBJECTS
            self.places[chosen] = 1 + rack
            self.loaded.append(category)
        self.time += 1
        return self._observe(), paid, self.time == OBJECTS, False, self._said()

    def _observe(self) -> dict[str, NDArray[np.float32]]:
        return {
            "objects": _rows(self.categories, self.places, self.stands),
            "prompt": self.demonstration.copy(),
        }

    def _said(self) -> dict[str, Any]:
        racks = np.array([1 + self.preference.racks[category] for category in self.categories])
        order = sorted(map(int, self.categories), key=self.preference.order.index)
        return {
            "packed": float((self.places == racks).mean()),
            "disorder": edit_distance(self.loaded, order) / OBJECTS,
        }


def _rows(
    categories: NDArray[np.int64], places: NDArray[np.int64], stands: NDArray[np.float64]
) -> NDArray[np.float32]:
    parts = np.eye(CATEGORIES)[categories], np.eye(1 + RACKS)[places], stands
    return np.concatenate(parts, axis=1).astype(np.float32)


def edit_distance(one: list[int], other: list[int]) -> int:
    """Returns how many insertions, deletions and replacements make one list of another (Levenshtein)."""
    row = list(range(len(other) + 1))
    for number, mine in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, theirs in enumerate(other, 1):
            cost = min(row[place] + 1, row[place - 1] + 1, before + (mine != theirs))
            before, row[place] = row[place], cost
    return row[-1]


def load_as_shown(observation: dict[str, NDArray[np.float32]]) -> np.int64:
    """Returns what somebody does who has understood the demonstration: the action for an observation."""
    shown = observation["prompt"][:, :CATEGORIES].argmax(axis=1)
    racks = observation["prompt"][:, CATEGORIES : CATEGORIES + 1 + RACKS].argmax(axis=1)
    categories = observation["objects"][:, :CATEGORIES].argmax(axis=1)
    waiting = np.flatnonzero(observation["objects"][:, CATEGORIES] > 0)
    when = [int(np.flatnonzero(shown == category)[0]) for category in categories]
    chosen = min(waiting, key=lambda place: (when[place], place))
    return np.int64(RACKS * chosen + racks[when[chosen]] - 1)
