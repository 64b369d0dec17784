"""Mean and deviation of features in files: of headway and of Kaldi."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from headway.core.errors import InputError, UserError
from headway.core.files import atomic_write
from headway.core.reading import check_file, read_text
from headway.speech.front_ends.spectral import SpectralFrontEnd

# Kaldi's networks that shift and scale: what stands between the name of a layer and its numbers.
_LAYER = r"<{}>\s+(\d+)\s+(\d+)\s*(?:<LearnRateCoef>\s+\S+\s*)?\[([^\]]*)\]"


class Statistics(NamedTuple):
    """Mean and deviation of each band, (bands,)."""

    mean: Tensor
    std: Tensor


def with_statistics(*, front_end: SpectralFrontEnd, path: str) -> SpectralFrontEnd:
    """Returns a front end that normalises by the mean and the deviation of a file.

    Args:
        front_end: Normalises globally.
        path: As of ``read_statistics``.

    Raises:
        UserError: If the front end does not, or the file is of other bands.
    """
    front_end.set_statistics(*read_statistics(Path(path).expanduser()))
    return front_end


def read_statistics(path: Path) -> Statistics:
    """Reads mean and deviation of each band.

    Args:
        path: ``.npz`` with ``mean`` and ``std``, or ``.mvn``, the text of Kaldi and FunASR that shifts
            (``AddShift``) and scales (``Rescale``).

    Raises:
        UserError: If the file is of another kind.
        InputError: If it does not hold them.
    """
    if path.suffix == ".npz":
        return _of_arrays(path)
    if path.suffix == ".mvn":
        return _of_network(path)
    raise UserError(
        f"{path} is no file of statistics; give .npz with mean and std, or Kaldi's .mvn"
    )


def write_statistics(path: Path, front_end: SpectralFrontEnd) -> None:
    """Writes the mean and the deviation of a front end as ``.npz``.

    Raises:
        UserError: If it has none, or the file is called otherwise.
    """
    if front_end.normalise != "global" or not front_end.complete:
        raise UserError(
            "this front end has measured no statistics; train it, or call measure(recordings)"
        )
    if path.suffix != ".npz":
        raise UserError(f"{path} must end in .npz")
    with atomic_write(path, "wb") as file:
        np.savez(file, mean=front_end.mean.cpu().numpy(), std=front_end.std.cpu().numpy())


def _of_arrays(path: Path) -> Statistics:
    check_file(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean, std = (np.asarray(arrays[name], dtype=np.float64) for name in ("mean", "std"))
    except KeyError as error:
        raise InputError(str(path), f"has no array {error.args[0]}") from None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(str(path), f"is no file of arrays ({error})") from None
    return _checked(path, torch.from_numpy(mean), torch.from_numpy(std))


def _of_network(path: Path) -> Statistics:
    text = read_text(path, "statistics")
    found = {}
    for name in ("AddShift", "Rescale"):
        match = re.search(_LAYER.format(name), text)
        if match is None:
            raise InputError(str(path), f"has no <{name}> with its numbers in brackets")
        try:
            found[name] = torch.tensor([float(word) for word in match[3].split()]).double()
        except ValueError:
            raise InputError(str(path), f"<{name}> holds what is no number") from None
        if len(found[name]) != int(match[1]):
            raise InputError(
                str(path), f"<{name}> says {match[1]} bands and holds {len(found[name])}"
            )
    return _checked(path, -found["AddShift"], 1.0 / found["Rescale"])


def _checked(path: Path, mean: Tensor, std: Tensor) -> Statistics:
    if mean.ndim != 1 or mean.shape != std.shape:
        raise InputError(
            str(path),
            f"mean {tuple(mean.shape)} and deviation {tuple(std.shape)} are not of the same bands",
        )
    return Statistics(mean.float(), std.float())
