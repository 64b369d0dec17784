"""Rearranging: an object goes to its goal, out of a container or into it, whose door may be closed."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.rl.environments.plane import blank_picture, paint_disc, speed, towards

STEP = 0.15
STEPS = 80
REACH = 0.12
INSIDE = 0.25  # from the middle of the container
TO_HANDLE = 0.4
SKILLS = ("pick", "open", "place")
PICK, OPEN, PLACE = range(len(SKILLS))


class Rearrange(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A hand on a plane takes an object to its goal; one of the two lies in a container with a door.

    The container stands on the right, its handle above or below it; object or goal is in it, the other lies
    on the left, and the hand begins between both. Nothing goes in or out while the door is closed, as it is
    at first in two of three episodes. The observation has 10 entries: hand (2), whether it holds the object,
    object (2), handle (2), whether the door is open, goal (2). The action is a velocity of at most length 1
    (2) and the grip: above 0 the hand takes what it reaches, the handle or the object, and below it lets go.
    An object that is let go of at its goal ends the episode and pays 1; 80 steps cut it off.

    Args:
        disturbed: Whether something is undone, once, after the object was carried for one to three steps: it
            slips out of the hand and lies somewhere on the left, or, of an object that goes into the
            container, the door falls shut.
        render_mode: ``rgb_array`` or None.

    Source:
        After Huang et al. 2023, https://arxiv.org/abs/2308.09873, on a plane.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, *, disturbed: bool = False, render_mode: str | None = None) -> None:
        self.disturbed, self.render_mode = disturbed, render_mode
        self.observation_space = gymnasium.spaces.Box(-1.2, 1.2, (10,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Puts container, object, goal and hand somewhere."""
        super().reset(seed=seed, options=options)
        draw = self.np_random
        self.time, self.holds = 0, False
        self.container = np.array([0.8, draw.uniform(-0.6, 0.6)])
        self.handle = self.container + np.array([0.0, draw.choice([-TO_HANDLE, TO_HANDLE])])
        self.open = bool(draw.random() < 1 / 3)
        places = [self.container.copy(), self._somewhere()]
        self.goes_in = bool(draw.random() < 0.5)
        self.goal, self.object = places if self.goes_in else places[::-1]
        self.hand = np.array([draw.uniform(-0.2, 0.2), draw.uniform(-0.8, 0.8)])
        # What is undone, and after how many steps with the object in the hand and, if it shuts, an open door.
        self.shuts = self.goes_in and bool(draw.random() < 0.5)
        self.due = int(draw.integers(1, 4)) if self.disturbed else 0
        return self._observe(), {"success": False}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves the hand, and takes or lets go."""
        self.hand = np.clip(self.hand + STEP * speed(action[:2]), -1.2, 1.2)
        grips, carried = float(action[2]) > 0, self.holds
        if grips and self._reaches(self.handle):
            self.open = True
        # The door is in the way of what is in the container.
        free = self.open or not self._inside(self.hand)
        if grips and not self.holds and free:
            self.holds = self._reaches(self.object)
        if self.holds:
            self.object = self.hand.copy()
        ended = False
        if not grips and self.holds and free:
            self.holds = False
            ended = self._reaches(self.goal)
        self.time += 1
        # Carried since an earlier step: whoever watches has seen it.
        if carried and not ended:
            self._disturb()
        truncated = not ended and self.time == STEPS
        return self._observe(), float(ended), ended, truncated, {"success": ended}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture."""
        if self.render_mode != "rgb_array":
            return None
        picture = blank_picture()
        paint_disc(picture, self.container, INSIDE, (235, 225, 205) if self.open else (140, 90, 40))
        paint_disc(picture, self.handle, 0.06, (90, 90, 90))
        paint_disc(picture, self.goal, REACH, (170, 220, 180))
        paint_disc(picture, self.object, 0.08, (230, 170, 20))
        paint_disc(picture, self.hand, 0.06, (40, 80, 200))
        return picture

    def _disturb(self) -> None:
        """Undoes something, when the time has come."""
        if self.due == 0 or not self.holds or (self.shuts and not self.open):
            return
        self.due -= 1
        if self.due == 0 and self.shuts:
            self.open = False
        elif self.due == 0:
            self.holds, self.object = False, self._somewhere()

    def _somewhere(self) -> NDArray[np.float64]:
        return np.array([self.np_random.uniform(-1, -0.5), self.np_random.uniform(-0.8, 0.8)])

    def _reaches(self, place: NDArray[np.float64]) -> bool:
        return bool(np.linalg.norm(self.hand - place) < REACH)

    def _inside(self, place: NDArray[np.float64]) -> bool:
        return bool(np.linalg.norm(place - self.container) < INSIDE)

    def _observe(self) -> NDArray[np.float32]:
        parts = (self.hand, [self.holds], self.object, self.handle, [self.open], self.goal)
        return np.concatenate(parts).astype(np.float32)


class RearrangeExpert:
    """Picks, opens and places in an order that does what is asked for, and says which of these it does.

    What can be done in two orders, an object on the left that goes into a closed container, is begun at
    either end, by a coin. Each expert has a pace of its own, and makes small errors.

    Args:
        random: Of order, pace and errors.
        watches: Whether it looks at every step which skill is needed; otherwise it does one after the other,
            each until it is done and never again.
        noise: Deviation of the errors of each velocity.

    Attributes:
        skills: Number in ``SKILLS`` of the skill of each step so far.
    """

    def __init__(
        self, random: np.random.Generator, *, watches: bool = True, noise: float = 0.1
    ) -> None:
        self.random, self.watches, self.noise = random, watches, noise
        self.opens_first = bool(random.random() < 0.5)
        self.pace = random.uniform(0.5, 1)
        self.skills: list[int] = []

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns velocity and grip."""
        seen = observation.astype(np.float64)
        hand, thing, handle, goal = seen[:2], seen[3:5], seen[5:7], seen[8:10]
        holds, is_open = bool(seen[2]), bool(seen[7])
        wanted = self._wanted(holds, is_open, _near(thing, handle), _near(goal, handle))
        skill = wanted if self.watches else self._next(wanted, holds, is_open)
        self.skills.append(skill)
        target = (thing, handle, goal)[skill]
        there = np.linalg.norm(hand - target) < REACH / 2
        # Who holds something keeps it, until it is where it goes.
        grips = (holds or there) if skill != PLACE else not there
        velocity = self.pace * towards(hand, target, STEP)
        velocity = speed(velocity + (0 if there else self.noise) * self.random.standard_normal(2))
        return np.array([*velocity, 1 if grips else -1], np.float32)

    def _wanted(self, holds: bool, is_open: bool, comes_out: bool, goes_in: bool) -> int:
        """Returns the skill that is needed now."""
        if not is_open and not holds and (comes_out or (goes_in and self.opens_first)):
            return OPEN
        if not holds:
            return PICK
        return OPEN if goes_in and not is_open else PLACE

    def _next(self, wanted: int, holds: bool, is_open: bool) -> int:
        """Returns the skill of a sequence that only goes on."""
        last = self.skills[-1] if self.skills else wanted
        if not {PICK: holds, OPEN: is_open, PLACE: False}[last]:
            return last
        return PLACE if wanted in self.skills else wanted


def _near(place: NDArray[np.float64], handle: NDArray[np.float64]) -> bool:
    """Returns whether a place is in the container of a handle."""
    return bool(np.linalg.norm(place - handle) < 1.5 * TO_HANDLE)
