"""Fashion-MNIST and other data sets in the four IDX files of MNIST."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.core.packed import open_packed
from headway.core.reading import check_file
from headway.core.training import Passed
from headway.vision.data.arrays import LabelledArrays
from headway.vision.data.in_memory import InMemoryImages, InMemoryOptions

# Where Debian's package puts the files.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


class FashionMNIST(InMemoryImages):
    """70,000 grey pictures of clothes, 28x28 pixels, 10 classes; 10,000 are the test split.

    Args:
        path: Folder of ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and their ``t10k``
            partners, packed (``.gz``) or not, in it or in ``FashionMNIST/raw`` as torchvision stores
            them; by default where Debian's ``dataset-fashion-mnist`` puts them.
        batch_size: Pictures of a batch.
        val: Share or number of the training pictures that validate instead.
        channels: 3 repeats the grey value, so that any image classifier fits; 1 keeps it.
        classes: Names of the classes; other data in the same format (MNIST) have others.
        **images: As of every ``InMemoryImages``: augment, split_seed, validate_on_test, mean, std, and of
            every ``DataModule``.

    Source:
        Xiao et al. 2017, https://arxiv.org/abs/1708.07747.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        batch_size: int = 128,
        val: int | float = 5000,
        channels: Literal[1, 3] = 3,
        classes: Sequence[str] = CLASSES,
        **images: Passed[InMemoryOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, val=val, **images)
        self.path = path
        self.channels = channels
        self.names = tuple(classes)

    def load(self) -> tuple[LabelledArrays, LabelledArrays]:
        """Reads the four files."""
        folder = self._folder()
        return self._split(folder, "train"), self._split(folder, "t10k")

    def _folder(self) -> Path:
        start = Path(self.path).expanduser() if self.path else DEBIAN
        for folder in (start, start / "FashionMNIST" / "raw", start / "MNIST" / "raw"):
            if any(folder.glob("train-images*")):
                return folder
        raise UserError(
            f"{start} has no train-images-idx3-ubyte(.gz); run `apt-get install dataset-fashion-mnist` "
            "or give the folder of the files of https://github.com/zalandoresearch/fashion-mnist as path"
        )

    def _split(self, folder: Path, prefix: str) -> LabelledArrays:
        images = read_idx(_file(folder, f"{prefix}-images-idx3-ubyte"), 3)
        labels = read_idx(_file(folder, f"{prefix}-labels-idx1-ubyte"), 1)
        if len(images) != len(labels):
            raise UserError(
                f"{folder} has {len(images)} {prefix} images and {len(labels)} labels; "
                "fetch the files again"
            )
        if len(labels) and labels.max() >= len(self.names):
            raise UserError(
                f"{folder} has the label {labels.max()}, but classes names {len(self.names)}"
            )
        return LabelledArrays(
            images=torch.from_numpy(images)[:, None].repeat(1, self.channels, 1, 1),
            labels=torch.from_numpy(labels.astype(np.int64)),
            classes=self.names,
        )


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Reads an IDX file of bytes, packed or not.

    Args:
        path: The file.
        axes: How many axes it must have.

    Raises:
        UserError: If it is not such a file, or shorter than it says.
    """
    try:
        with open_packed(check_file(path)) as file:
            data = file.read()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again") from None
    # Two zero bytes, the type (8: bytes), the number of axes, then each length as 32 bits big-endian.
    start = 4 + 4 * axes
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) < start:
        raise UserError(f"{path} is not an IDX file of bytes with {axes} axes")
    shape = tuple(int(length) for length in np.frombuffer(data, ">u4", axes, 4))
    if len(data) - start != np.prod(shape):
        raise UserError(
            f"{path} holds {len(data) - start} values instead of {shape}; fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def _file(folder: Path, name: str) -> Path:
    # torchvision unpacks beside the archive; some mirrors write a dot instead of the second dash.
    for found in (
        name,
        f"{name}.gz",
        name.replace("-idx", ".idx"),
        f"{name.replace('-idx', '.idx')}.gz",
    ):
        if os.path.exists(folder / found):
            return folder / found
    raise UserError(f"{folder} lacks {name} or {name}.gz; fetch the four files again")
