"""Vector environments by name."""

from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from headway.core.errors import UserError, one_line


def make_vector(
    name: str, number: int, *, render_mode: str | None = None, **arguments: Any
) -> VectorEnv[Any, Any, Any]:
    """Returns environments that run side by side and are reset one by one.

    Args:
        name: Name of the environment, such as ``Hopper-v5``.
        number: How many.
        render_mode: ``rgb_array`` to draw them.
        **arguments: Of the environment itself, such as ``length`` of a corridor.

    Raises:
        UserError: If gymnasium does not know the environment, lacks what it needs, or cannot make it.
    """
    # Not every environment can be drawn, and has the argument.
    options = arguments if render_mode is None else {**arguments, "render_mode": render_mode}

    def make() -> gymnasium.Env[Any, Any]:
        return gymnasium.make(name, **options)

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


def check_drawn(name: str) -> None:
    """Draws an environment once, so that what is missing is named before anything is played.

    Raises:
        UserError: If it cannot be drawn.
    """
    envs = make_vector(name, 1, render_mode="rgb_array")
    try:
        envs.reset(seed=0)
        pictures: Any = envs.render()
    except Exception as error:
        # Its own code runs here: of a missing package gymnasium raises DependencyNotInstalled.
        raise UserError(
            f"{name} cannot be drawn ({one_line(error)[:200]}); install that, or leave --video out"
        ) from None
    finally:
        envs.close()
    if pictures is None or any(picture is None for picture in pictures):
        raise UserError(f"{name} cannot be drawn; leave --video out")


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
