"""The folder of one run: where everything lies, and how a new one is made."""

from dataclasses import dataclass
from pathlib import Path

from headway.core.errors import UserError


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run.

    Args:
        path: The folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The recipe as it was run, with every default."""
        return self.path / "config.yaml"

    @property
    def last(self) -> Path:
        """The checkpoint that a run continues from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint with the best value of the monitored metric."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def model(self) -> Path:
        """The exported model: config.json, model.safetensors, preprocessing.json."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        """One row for each epoch or validation."""
        return self.path / "metrics.csv"

    @property
    def pictures(self) -> Path:
        """Curves and whatever a task draws."""
        return self.path / "pictures"


def new_run(root: Path, name: str) -> RunFolder:
    """Makes the next free folder ``root/name/<n>``; two processes never get the same one.

    Args:
        root: Folder of all runs.
        name: Name of the recipe.
    """
    parent = root / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        taken = [int(p.name) for p in parent.iterdir() if p.name.isdecimal()]
        number = max(taken, default=0) + 1
        while True:
            try:
                (parent / str(number)).mkdir()
            except FileExistsError:
                number += 1
            else:
                return RunFolder(parent / str(number))
    except OSError as error:
        raise UserError(
            f"cannot make a run folder in {parent}: {error.strerror}; choose another with --runs"
        ) from error
