"""Backbones of proteins as training data of a diffusion."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import InputError, UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.training.splits import part_size
from headway.molecules.proteins import ANGLES, angles_of, made_backbone, read_backbones
from headway.molecules.proteins.files import SUFFIXES

MADE = "made"


class Chains(Dataset[Tensor]):
    """Angles of chains, long ones cut to a piece.

    Args:
        angles: Of each chain, (N, 6).
        max_length: Most residues of an item.
        crop: Whether the piece of a long chain is drawn anew each time; its beginning otherwise.
    """

    def __init__(self, angles: list[Tensor], *, max_length: int, crop: bool = False) -> None:
        self.angles, self.max_length, self.crop = angles, max_length, crop

    def __len__(self) -> int:
        return len(self.angles)

    def __getitem__(self, index: int) -> Tensor:
        chain = self.angles[index]
        room = len(chain) - self.max_length
        start = int(torch.randint(room + 1, ())) if self.crop and room > 0 else 0
        return chain[start : start + self.max_length]


class Backbones(DataModule):
    """Chains of a folder of ``.pdb`` and ``.cif`` files, or made-up ones; files are split, not chains.

    Args:
        path: The folder, or ``made``: stretches of helix, strand, loop and turn, for trying things out.
        number: How many are made up.
        batch_size: Chains of a batch.
        val: Share or number of the files that validate.
        split_seed: Of the split, and of what is made up.
        min_length: Fewest residues of a chain; shorter ones are left out.
        max_length: Most residues of an item; of longer chains a piece is taken.
        on_invalid: What happens to files that are no structure.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.

    Raises:
        UserError: If the lengths contradict each other, or there is nothing to learn from.
    """

    def __init__(
        self,
        *,
        path: str,
        number: int = 2000,
        batch_size: int = 32,
        val: int | float = 0.1,
        split_seed: int = 0,
        min_length: int = 40,
        max_length: int = 128,
        on_invalid: OnInvalid = "raise",
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if not 2 <= min_length <= max_length:
            raise UserError(
                f"min_length {min_length} and max_length {max_length}: at least 2, and in this order"
            )
        if number < 2:
            raise UserError(f"number is {number}; at least 2 chains are needed")
        self.path, self.number, self.val, self.split_seed = path, number, val, split_seed
        self.min_length, self.max_length = min_length, max_length
        self.invalid = InvalidItems(on_invalid, "structures")
        self.angles: list[Tensor] = []

    def setup(self, stage: str | None = None) -> None:
        """Reads the chains and splits them."""
        if self.train_set is not None:
            return
        sources = self._made() if self.path == MADE else self._read()
        if len(sources) < 2:
            raise UserError(
                f"{self.path} has {len(sources)} structures with a chain of {self.min_length} residues or "
                "more; at least 2 are needed"
            )
        draws = np.random.Generator(np.random.PCG64([self.split_seed, len(sources)]))
        order = draws.permutation(len(sources)).tolist()
        count = part_size(self.val, len(sources), "val", "structures")
        parts = order[:count], order[count:]
        held, self.angles = ([chain for at in part for chain in sources[at]] for part in parts)
        self.train_set = Chains(self.angles, max_length=self.max_length, crop=True)
        self.val_set = Chains(held, max_length=self.max_length) if held else None
        self.test_set = self.val_set

    def mean(self) -> Tensor:
        """Returns the mean direction of each angle in the training part, (6,) in radians."""
        angles = torch.cat(self.angles).double()
        return torch.atan2(angles.sin().mean(dim=0), angles.cos().mean(dim=0)).float()

    def collate(self, items: list[Tensor]) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Returns angles, right-padded, and lengths."""
        padded = torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
        return padded, torch.tensor([len(item) for item in items])

    def preprocessing(self) -> dict[str, Any]:
        """Returns what the numbers of the model are."""
        return {"trained_on": Path(self.path).name, "angles": list(ANGLES)}

    def _made(self) -> list[list[Tensor]]:
        generator = torch.Generator().manual_seed(self.split_seed)
        room = self.max_length - self.min_length + 1
        lengths = self.min_length + torch.randint(room, (self.number,), generator=generator)
        return [[made_backbone(length, generator)] for length in lengths.tolist()]

    def _read(self) -> list[list[Tensor]]:
        folder = Path(self.path)
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; give one with .pdb or .cif files, or {MADE}")
        files = sorted(file for file in folder.rglob("*") if file.name.lower().endswith(SUFFIXES))
        found: list[list[Tensor]] = []
        for file in files:
            try:
                pieces = [piece for piece in read_backbones(file) if len(piece) >= self.min_length]
            except InputError as error:
                self.invalid.add(error)
                continue
            if pieces:
                found.append([angles_of(piece) for piece in pieces])
        self.invalid.log(len(files))
        return found
