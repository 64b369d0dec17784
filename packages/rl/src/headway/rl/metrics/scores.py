"""Returns on a scale from random play (0) to an expert (100)."""

from headway.core.errors import UserError

# Return of random play and of an expert, as D4RL publishes them (d4rl/infos.py); the same for all versions.
REFERENCES: dict[str, tuple[float, float]] = {
    "hopper": (-20.272305, 3234.3),
    "halfcheetah": (-280.178953, 12135.0),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
    "maze2d-umaze": (23.85, 161.86),
    "maze2d-medium": (13.13, 277.39),
    "maze2d-large": (6.7, 273.99),
    "maze2d-umaze-dense": (68.537689, 193.66285642381482),
    "maze2d-medium-dense": (44.264742, 297.4552547777125),
    "maze2d-large-dense": (30.569041, 303.4857382709002),
    "antmaze": (0.0, 1.0),
    "kitchen": (0.0, 4.0),
    "pen": (96.262799, 3076.8331017826877),
    "hammer": (-274.856578, 12794.134825156867),
    "door": (-56.512833, 2880.5693087298737),
    "relocate": (-6.425911, 4233.877797728884),
}


def task_of(environment: str) -> str | None:
    """Returns the task of an environment or data set that has published references; None if there is none.

    Args:
        environment: Such as ``Hopper-v5``, ``hopper-medium-v2`` or ``mujoco/hopper/medium-v0``.
    """
    words = environment.lower().replace("/", "-").split("-")
    # The longest name whose words all occur.
    fitting = [name for name in REFERENCES if set(name.split("-")) <= set(words)]
    return max(fitting, key=len, default=None)


def normalised_score(task: str, total: float) -> float:
    """Returns ``100 * (total - random) / (expert - random)``.

    The references belong to the environments that D4RL recorded in. Gymnasium's ``Hopper-v5`` and
    ``Walker2d-v5`` pay otherwise when they fall, and the feet of ``Walker2d-v5`` have another friction: a
    score there is no score of D4RL. So print the name of the environment beside it.

    Args:
        task: One of ``REFERENCES``.
        total: Return of an episode, or the mean of several.

    Raises:
        UserError: If there are no references for the task.

    Source:
        Fu et al. 2020, https://arxiv.org/abs/2004.07219, and their code.
    """
    if task not in REFERENCES:
        raise UserError(f"no references are known of {task!r}; there are {', '.join(REFERENCES)}")
    low, high = REFERENCES[task]
    return 100.0 * (total - low) / (high - low)
