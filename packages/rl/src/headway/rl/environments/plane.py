"""What environments of points on a plane share: moving and drawing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 160  # pixels of a picture
WHITE = (255, 255, 255)


def speed(action: Any) -> NDArray[np.float64]:
    """Returns a velocity of at most length 1, in the direction of an action (2,)."""
    velocity = np.asarray(action, np.float64).reshape(2)
    return velocity / max(1.0, float(np.linalg.norm(velocity)))


def towards(place: NDArray[Any], goal: NDArray[Any], step: float) -> NDArray[np.float64]:
    """Returns the velocity that goes to a goal as fast as it may and stops there.

    Args:
        place: Where one is, (2,).
        goal: Where to go, (2,).
        step: How far a velocity of length 1 goes.
    """
    return speed((np.asarray(goal, np.float64) - place) / step)


def blank_picture() -> NDArray[np.uint8]:
    """Returns a white square."""
    return np.full((SIDE, SIDE, 3), WHITE, np.uint8)


def paint_disc(
    picture: NDArray[np.uint8],
    centre: NDArray[Any],
    radius: float,
    colour: tuple[int, int, int],
) -> None:
    """Paints a disc into a picture of the square from -1.2 to 1.2; up is up.

    Args:
        picture: (SIDE, SIDE, 3).
        centre: (2,).
        radius: In units of the plane.
        colour: Red, green and blue.
    """
    places = (np.arange(SIDE) + 0.5) / SIDE * 2.4 - 1.2
    x, y = places[None, :], -places[:, None]
    picture[np.square(x - centre[0]) + np.square(y - centre[1]) <= radius**2] = colour
