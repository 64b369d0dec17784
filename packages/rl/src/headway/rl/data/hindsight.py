"""What was reached, as if it had been wanted."""

from dataclasses import replace

import numpy as np

from headway.core.errors import UserError
from headway.rl.data.trajectory import Trajectory

# The names of goal environments (gymnasium-robotics).
ACHIEVED, DESIRED = "achieved_goal", "desired_goal"


def hindsight(trajectory: Trajectory) -> Trajectory:
    """Returns an episode whose goal is what it has reached.

    Observations have the names of goal environments. A ``desired_goal`` of the shape of ``achieved_goal``
    becomes the last of these; one of n times that shape becomes the path, what was reached after each of the
    first n steps.

    Args:
        trajectory: The episode, with what was seen at its end.

    Raises:
        UserError: If there are no such observations, or their shapes do not belong together.
    """
    seen = trajectory.observations
    if not isinstance(seen, dict) or not {ACHIEVED, DESIRED} <= set(seen):
        raise UserError(
            f"hindsight needs observations {ACHIEVED} and {DESIRED}, as goal environments have them"
        )
    reached, wanted = np.asarray(seen[ACHIEVED][:]), seen[DESIRED]
    if len(reached) == len(trajectory):
        raise UserError("hindsight needs what was seen at the end of each episode, too")
    if wanted.shape[1:] == reached.shape[1:]:
        goal = reached[-1]
    elif wanted.shape[2:] == reached.shape[1:]:
        path = reached[1 : wanted.shape[1] + 1]
        # An episode that ends sooner stays where it is.
        missing = wanted.shape[1] - len(path)
        goal = np.concatenate([path, np.repeat(path[-1:], missing, axis=0)])
    else:
        raise UserError(
            f"{DESIRED} has {tuple(wanted.shape[1:])} numbers and {ACHIEVED} "
            f"{tuple(reached.shape[1:])}; they must have one shape, or the first several of the second"
        )
    goals = np.broadcast_to(goal, (len(reached), *goal.shape))
    return replace(trajectory, observations={**seen, DESIRED: goals})
