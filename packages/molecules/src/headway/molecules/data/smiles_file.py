"""Molecules of a file as training data of a language model."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from headway.core.errors import InputError, UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.buckets import LengthBuckets
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.training.splits import part_size
from headway.molecules.chemistry import checked, molecule, random_smiles
from headway.molecules.data.reading import read_smiles
from headway.molecules.data.shipped import find_file
from headway.molecules.data.tokenizer import SmilesTokenizer
from headway.molecules.notation import split_smiles


class Molecules(Dataset[Tensor]):
    """Token numbers of molecules.

    Args:
        smiles: The molecules.
        tokenizer: Turns them into numbers.
        randomize: Whether each item is drawn from the many SMILES of its molecule.
    """

    def __init__(
        self, smiles: Sequence[str], tokenizer: SmilesTokenizer, *, randomize: bool = False
    ) -> None:
        self.smiles, self.tokenizer, self.randomize = smiles, tokenizer, randomize

    def __len__(self) -> int:
        return len(self.smiles)

    def __getitem__(self, index: int) -> Tensor:
        smiles = self.smiles[index]
        found = molecule(smiles) if self.randomize else None
        if found is not None:
            try:
                drawn = random_smiles(found, int(torch.randint(2**31 - 1, ())))
                return torch.tensor(self.tokenizer.encode(drawn))
            except InputError:
                pass  # another way to write it needs a token that the file does not have
        return torch.tensor(self.tokenizer.encode(smiles))


class SmilesFile(DataModule):
    """Molecules of a ``.smi``, ``.txt`` or ``.csv`` file, split at random.

    A molecule that stands in the file several times is on one side of the split, however it is written (as
    far as ``check`` lets RDKit see it).

    The vocabulary of the model grows by the tokens of the file when training starts.

    Args:
        path: The file, or ``.gz`` of it; or ``moses`` or ``nci`` for what packages bring along.
        column: Column of a table; the one called smiles if None.
        batch_size: Molecules of a batch; batches hold molecules of about equal length.
        val: Share or number of the molecules that validate.
        test: Share or number of the molecules that test.
        split_seed: Of the splits and of ``limit``.
        limit: Most molecules that are used, drawn at random from the file; all if None.
        max_length: Most tokens of a molecule, start and end included; longer ones are invalid.
        randomize: Whether training sees a new notation of each molecule in every epoch.
        check: Whether RDKit must be able to read every molecule (about 10,000 a second).
        on_invalid: What happens to rows that are no molecule. ``skip`` leaves them out and says which
            and how many.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.

    Source:
        randomize: Arus-Pous et al. 2019, https://doi.org/10.1186/s13321-019-0393-0.
    """

    def __init__(
        self,
        *,
        path: str,
        column: str | None = None,
        batch_size: int = 64,
        val: int | float = 0.05,
        test: int | float = 0,
        split_seed: int = 0,
        limit: int | None = None,
        max_length: int = 128,
        randomize: bool = False,
        check: bool = True,
        on_invalid: OnInvalid = "raise",
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if limit is not None and limit < 2:
            raise UserError(f"limit is {limit}; at least 2 molecules are needed")
        self.path, self.column = path, column
        self.val, self.test, self.split_seed, self.limit = val, test, split_seed, limit
        self.max_length, self.randomize, self.check = max_length, randomize, check
        self.invalid = InvalidItems(on_invalid, "molecules")
        self.splits: dict[str, list[str]] = {}
        self.tokens: tuple[str, ...] = ()
        self.lengths: list[int] = []

    def setup(self, stage: str | None = None) -> None:
        """Reads, checks and splits the molecules."""
        if not self.splits:
            self._read()

    def use(self, tokenizer: SmilesTokenizer) -> None:
        """Encodes the molecules with the vocabulary of a model."""
        for split, smiles in self.splits.items():
            if smiles:
                randomize = self.randomize and split == "train"
                data = Molecules(smiles, tokenizer, randomize=randomize)
                setattr(self, f"{split}_set", data)
        self.predict_set = self.test_set or self.val_set

    @staticmethod
    def collate(items: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns token numbers, right-padded by the end token, and lengths."""
        lengths = torch.tensor([len(item) for item in items])
        end = int(items[0][-1])
        padded = torch.nn.utils.rnn.pad_sequence(items, batch_first=True, padding_value=end)
        return padded, lengths

    def train_batches(self, order: Sampler[int]) -> Iterable[list[int]]:
        """Groups molecules of about equal length."""
        return LengthBuckets(
            order, self.lengths, batch_size=self.batch_size, drop_last=self.drop_last
        )

    def preprocessing(self) -> dict[str, Any]:
        """Returns how many molecules the model has seen, and of which file."""
        return {"trained_on": Path(self.path).name, "molecules": len(self.splits.get("train", ()))}

    def _read(self) -> None:
        path = find_file(self.path)
        rows = list(read_smiles(path, self.column))
        order = np.random.Generator(np.random.PCG64([self.split_seed, len(rows)]))
        kept: list[tuple[str, int]] = []
        same: dict[str, str] = {}  # each way to write a molecule, and what they have in common
        known: set[str] = set()
        # Bad rows are reported in the order of the file, whatever the split.
        chosen = sorted(order.permutation(len(rows))[: self.limit].tolist())
        for place in chosen:
            row = rows[place]
            name = f"{path.name}, row {row.number}"
            try:
                tokens, same[row.smiles] = self._tokens(row.smiles, name)
            except InputError as error:
                self.invalid.add(error)
                continue
            known.update(tokens)
            kept.append((row.smiles, len(tokens) + 2))
        self.invalid.log(len(chosen))
        if len(kept) < 2:
            raise UserError(f"{path} has {len(kept)} usable molecules; at least 2 are needed")
        test = part_size(self.test, len(kept), "test", "molecules")
        val = part_size(self.val, len(kept) - test, "val", "molecules")
        shuffled = [kept[place] for place in order.permutation(len(kept)).tolist()]
        parts: dict[str, list[tuple[str, int]]] = {"test": [], "val": [], "train": []}
        home: dict[str, str] = {}
        for place, (smiles, length) in enumerate(shuffled):
            split = "test" if place < test else "val" if place < test + val else "train"
            # A molecule that is there twice, however written, goes where the first of the two went.
            parts[home.setdefault(same[smiles], split)].append((smiles, length))
        if not parts["train"]:
            raise UserError(f"{path} has {len(home)} different molecules, none is left to train on")
        self.splits = {name: [smiles for smiles, _ in part] for name, part in parts.items()}
        self.lengths = [length for _, length in parts["train"]]
        self.tokens = tuple(sorted(known))

    def _tokens(self, smiles: str, name: str) -> tuple[list[str], str]:
        """Returns the tokens of a molecule, and what all ways to write it have in common."""
        tokens = split_smiles(smiles, name)
        common = Chem.MolToSmiles(checked(smiles, name)) if self.check else smiles
        if len(tokens) + 2 > self.max_length:
            raise InputError(
                name,
                f"{len(tokens) + 2} tokens with start and end are more than max_length "
                f"{self.max_length}",
            )
        return tokens, common
