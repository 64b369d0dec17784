"""Vector environments by name, and what their spaces mean for a model."""

from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FlattenObservation

from headway.core.errors import UserError, one_line


def make_vector(
    name: str, number: int, *, render_mode: str | None = None
) -> VectorEnv[Any, Any, Any]:
    """Returns environments that run side by side and are reset one by one.

    Args:
        name: Name of the environment, such as ``Hopper-v5``.
        number: How many.
        render_mode: ``rgb_array`` to draw them.

    Raises:
        UserError: If gymnasium does not know the environment, lacks what it needs, or cannot make it.
    """
    # Not every environment can be drawn, and has the argument.
    options: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}

    def make() -> gymnasium.Env[Any, Any]:
        env = gymnasium.make(name, **options)
        return env if isinstance(env.observation_space, spaces.Box) else FlattenObservation(env)

    try:
        return SyncVectorEnv([make] * number, autoreset_mode=AutoresetMode.DISABLED)
    except gymnasium.error.Error as error:
        raise UserError(f"there is no environment {name}: {error}") from None
    except ImportError as error:
        raise UserError(f"{name} needs a package that is not installed: {error}") from None
    except Exception as error:
        # Its own code runs here, and may raise anything.
        raise UserError(
            f"{name} cannot be made ({type(error).__name__}: {one_line(error)[:200]})"
        ) from error


def refuse_import(name: str, where: str) -> str:
    """Returns the name of an environment that a file brought along, unless it would import something.

    ``gymnasium.make("module:Name")`` runs the module; only the person at the keyboard may ask for that.

    Args:
        name: The name.
        where: The file or data set that holds it.

    Raises:
        UserError: If it is no plain name.
    """
    if not isinstance(name, str) or ":" in name:
        raise UserError(
            f"{where} names the environment {name!r}, which would import a module; if you trust it, "
            f"name it yourself with --env {name}"
        )
    return name


def observation_size(space: spaces.Space[Any]) -> int:
    """Returns how many numbers an observation has once it is flat.

    Raises:
        UserError: If it cannot be made flat.
    """
    if not space.is_np_flattenable:
        raise UserError(f"observations of {space} cannot be made a vector")
    return int(spaces.flatdim(space))


def action_size(space: spaces.Space[Any]) -> tuple[str, int]:
    """Returns ``continuous`` or ``discrete``, and the numbers of an action or how many there are.

    Raises:
        UserError: If actions are neither.
    """
    if isinstance(space, spaces.Discrete):
        return "discrete", int(space.n)
    if isinstance(space, spaces.Box) and space.shape is not None and len(space.shape) == 1:
        return "continuous", space.shape[0]
    raise UserError(f"actions are numbers (Box) or choices (Discrete), got {space}")
