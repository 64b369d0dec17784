"""Molecules that packages bring along."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

from rdkit import RDConfig

from headway.core.errors import UserError


def moses_folder() -> Path:
    """Returns the folder of the package of MOSES.

    It is not imported: it does not run with current versions of RDKit and pandas.

    Raises:
        UserError: If it is not installed.

    Source:
        Polykovskiy et al. 2018, https://arxiv.org/abs/1811.12823.
    """
    found = importlib.util.find_spec("moses")
    if found is None or not found.origin:
        raise UserError("MOSES is not installed: pip install --no-deps molsets")
    return Path(found.origin).parent


@cache
def has_moses() -> bool:
    """Whether the package of MOSES is installed."""
    return importlib.util.find_spec("moses") is not None


def moses_file(split: str = "train") -> Path:
    """Returns the file of a split of MOSES: ``train``, ``test`` or ``test_scaffolds``.

    Raises:
        UserError: If it is not installed.
    """
    file = moses_folder() / "dataset" / "data" / f"{split}.csv.gz"
    if not file.is_file():
        raise UserError(f"there is no {file}: pip install --no-deps molsets")
    return file


def nci_file() -> Path:
    """Returns the first 5,000 molecules of the NCI open database, which RDKit brings along.

    Raises:
        UserError: If this RDKit has been packed without its data.
    """
    file = Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"
    if not file.is_file():
        raise UserError(f"this RDKit lacks {file}; pip install rdkit brings it")
    return file


SHIPPED: dict[str, Callable[[], Path]] = {"moses": moses_file, "nci": nci_file}


def find_file(path: str) -> Path:
    """Returns the file that a user means: their own, or the one of a name in ``SHIPPED``."""
    file = Path(path).expanduser()
    return SHIPPED[path]() if path in SHIPPED and not file.exists() else file
