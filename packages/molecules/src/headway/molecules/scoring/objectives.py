"""Objectives by the name of a task, or from a YAML file."""

from collections.abc import Collection
from pathlib import Path

from headway.core.errors import InputError, UserError
from headway.core.reading import read_yaml
from headway.core.weights import build
from headway.molecules.scoring.base import Scorer
from headway.molecules.scoring.tasks import task

ENDINGS = (".yaml", ".yml", ".json")


def read_objective(given: str, *, allow: Collection[str] = ()) -> Scorer:
    """Returns an objective.

    Args:
        given: The name of a task, or a file with the ``class_path`` of a scorer and its ``init_args``,
            scorers and transforms among them, as parts stand in recipes. Classes come from headway alone.
        allow: Further classes or packages, by import path, that a file may name.

    Raises:
        UserError: If there is no such task, or the file describes no scorer; nothing of it is then run.
    """
    if not given.endswith(ENDINGS):
        return task(given)
    path = Path(given).expanduser()
    content = read_yaml(path, "objective")
    if not isinstance(content, dict) or set(content) - {"class_path", "init_args"}:
        raise InputError(str(path), "an objective has a class_path and its init_args, nothing else")
    try:
        return build(content, expected=Scorer, allow=allow)
    except UserError as error:
        raise InputError(str(path), str(error)) from None
