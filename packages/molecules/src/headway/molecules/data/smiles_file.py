"""Molecules of a file as training data of a language model."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Required

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from headway.core.errors import InputError, UserError
from headway.core.language import Tokenizer
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.buckets import LengthBuckets
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.training.splits import part_size
from headway.molecules.chemistry import checked, molecule, random_smiles
from headway.molecules.data.readers import read_records
from headway.molecules.data.records import Record
from headway.molecules.data.splits import RandomSplit, Split
from headway.molecules.notation import SmilesTokenizer
from headway.molecules.shipped import find_file


class Molecules(Dataset[Tensor]):
    """Token numbers of molecules.

    Args:
        records: The molecules.
        tokenizer: Turns them into numbers.
        randomize: Whether each item is drawn from the many SMILES of its molecule.
    """

    def __init__(
        self, records: Sequence[Record], tokenizer: Tokenizer, *, randomize: bool = False
    ) -> None:
        self.records, self.tokenizer, self.randomize = records, tokenizer, randomize

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Tensor:
        smiles = self.records[index].smiles
        found = molecule(smiles) if self.randomize else None
        if found is not None:
            try:
                drawn = random_smiles(found, int(torch.randint(2**31 - 1, ())))
                return torch.tensor(self.tokenizer.encode(drawn))
            except InputError:
                pass  # another way to write it needs a token that the file does not have
        return torch.tensor(self.tokenizer.encode(smiles))


class InARow(Dataset[Tensor]):
    """Items one behind another, the first in its turn and those behind it drawn.

    Args:
        items: Token numbers, each with its start and end.
        count: How many stand in a row.
    """

    def __init__(self, items: Dataset[Tensor], count: int) -> None:
        self.items, self.count = items, count

    def __len__(self) -> int:
        return len(self.items)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, index: int) -> Tensor:
        others = torch.randint(len(self), (self.count - 1,)).tolist()
        return torch.cat([self.items[place] for place in (index, *others)])


class Usable(NamedTuple):
    """A molecule that can be learned from.

    Args:
        record: What the file says.
        tokens: How it is cut, start and end left out.
        common: What all ways to write it have in common.
    """

    record: Record
    tokens: list[str]
    common: str


class SmilesOptions(LoaderOptions, total=False):
    """What a data module with more than the molecules of a file passes on."""

    path: Required[str]
    column: str | None
    id_column: str | None
    batch_size: int
    val: int | float
    test: int | float
    split: Split | None
    split_seed: int
    limit: int | None
    max_length: int
    randomize: bool
    check: bool
    in_a_row: int
    on_invalid: OnInvalid


class SmilesFile(DataModule):
    """Molecules of a ``.smi``, ``.csv``, ``.tsv``, ``.sdf`` or ``.parquet`` file, split into parts.

    A molecule that stands in the file several times is on one side of the split, however it is written (as
    far as ``check`` lets RDKit see it).

    They are cut into tokens as the model does it. Its vocabulary grows by the tokens of the file when
    training starts; where it is one of pieces (``tokenizer.json``), which cannot, molecules beyond it are
    invalid.

    Args:
        path: The file, or ``.gz`` of it; or ``moses`` or ``nci`` for what packages bring along.
        column: Column of a table, or its number where there is no header; the one called smiles if None.
        id_column: Column of the names; the one called id or name if None.
        batch_size: Molecules of a batch; batches hold molecules of about equal length.
        val: Share or number of the molecules that validate.
        test: Share or number of the molecules that test.
        split: How the parts are chosen: ``ScaffoldSplit``, ``TimeSplit``; by chance if None.
        split_seed: Of the splits and of ``limit``.
        limit: Most molecules that are used, drawn at random from the file; all if None.
        max_length: Most tokens of a molecule, start and end included; longer ones are invalid.
        randomize: Whether training sees a new notation of each molecule in every epoch.
        check: Whether RDKit must be able to read every molecule (about 10,000 a second).
        in_a_row: Molecules of a training row, one behind another, the others drawn. A model that has read
            two writes a second one well behind a first, which pair-tuning asks of it.
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
        id_column: str | None = None,
        batch_size: int = 64,
        val: int | float = 0.05,
        test: int | float = 0,
        split: Split | None = None,
        split_seed: int = 0,
        limit: int | None = None,
        max_length: int = 128,
        randomize: bool = False,
        check: bool = True,
        in_a_row: int = 1,
        on_invalid: OnInvalid = "raise",
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if limit is not None and limit < 2:
            raise UserError(f"limit is {limit}; at least 2 molecules are needed")
        if not 1 <= in_a_row <= 64:
            raise UserError(f"in_a_row is {in_a_row}; 1 to 64 molecules stand in a row")
        if in_a_row > 1 and type(self).dataset is not SmilesFile.dataset:
            raise UserError(
                f"in_a_row is {in_a_row}; molecules of a {type(self).__name__} stand alone, for they "
                "are told what belongs to each: leave it out"
            )
        self.in_a_row = in_a_row
        self.path, self.column, self.id_column = path, column, id_column
        self.split = split if split is not None else RandomSplit()
        self.val, self.test, self.split_seed, self.limit = val, test, split_seed, limit
        self.max_length, self.randomize, self.check = max_length, randomize, check
        self.invalid = InvalidItems(on_invalid, "molecules")
        self.tokenizer: Tokenizer = SmilesTokenizer()
        self.splits: dict[str, list[Record]] = {}
        self.tokens: tuple[str, ...] = ()
        self.lengths: list[int] = []
        self.longest = 0

    def setup(self, stage: str | None = None) -> None:
        """Reads, checks and splits the molecules."""
        if not self.splits:
            task = getattr(self.trainer, "lightning_module", None)
            model = getattr(task, "backbone", None)
            tokenizer = getattr(model, "tokenizer", None)
            self.tokenizer = tokenizer if isinstance(tokenizer, Tokenizer) else self.tokenizer
            self._read()

    def use(self, tokenizer: Tokenizer) -> None:
        """Encodes the molecules with the tokenizer of a model, which may have grown since they were read."""
        self.tokenizer = tokenizer
        for split, records in self.splits.items():
            if records:
                randomize = self.randomize and split == "train"
                data = self.dataset(records, randomize=randomize)
                if self.in_a_row > 1 and split == "train":
                    data = InARow(data, self.in_a_row)
                setattr(self, f"{split}_set", data)
        self.predict_set = self.test_set or self.val_set

    def dataset(self, records: Sequence[Record], *, randomize: bool) -> Dataset[Any]:
        """Returns the items of a part.

        Args:
            records: Its molecules.
            randomize: Whether each item is drawn from the many SMILES of its molecule.
        """
        return Molecules(records, self.tokenizer, randomize=randomize)

    def collate(self, items: list[Any]) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Returns token numbers, right-padded, and lengths."""
        lengths = torch.tensor([len(item) for item in items])
        padded = torch.nn.utils.rnn.pad_sequence(
            items, batch_first=True, padding_value=self.tokenizer.filling
        )
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
        records = list(read_records(path, self.column, id_column=self.id_column))
        self._check(records, path.name)
        records = self._chosen(records, path.name)
        draws = np.random.Generator(np.random.PCG64([self.split_seed, len(records)]))
        kept: list[Usable] = []
        # Bad rows are reported in the order of the file, whatever the split.
        chosen = sorted(draws.permutation(len(records))[: self.limit].tolist())
        for place in chosen:
            record = records[place]
            try:
                kept.append(self._usable(record, f"{path.name}, row {record.row}"))
            except InputError as error:
                self.invalid.add(error)
        self.invalid.log(len(chosen))
        if len(kept) < 2:
            raise UserError(f"{path} has {len(kept)} usable molecules; at least 2 are needed")
        parts = self._parts(kept, path.name, draws)
        if not parts["train"]:
            raise UserError(
                f"{path} has too few different molecules for val {self.val} and test {self.test}: none is "
                "left to train on"
            )
        self.splits = {name: [one.record for one in part] for name, part in parts.items()}
        frame = len(self.tokenizer.encode(""))
        self.lengths = [len(one.tokens) + frame for one in parts["train"]]
        self.longest = max(len(one.tokens) for one in kept) + frame
        self.tokens = tuple(sorted({token for one in kept for token in one.tokens}))

    def _check(self, records: Sequence[Record], file: str) -> None:
        """Raises if what is wrong is no matter of single rows."""

    def _chosen(self, records: list[Record], file: str) -> list[Record]:
        """Returns the rows that are wanted at all; what is left out is not invalid."""
        return records

    def _parts(
        self, kept: list[Usable], file: str, draws: np.random.Generator
    ) -> dict[str, list[Usable]]:
        test = part_size(self.test, len(kept), "test", "molecules")
        val = part_size(self.val, len(kept) - test, "val", "molecules")
        records = [one.record for one in kept]
        groups = self.split.groups(records) or [one.common for one in kept]
        parts: dict[str, list[Usable]] = {"test": [], "val": [], "train": []}
        home: dict[str, str] = {}
        for number, place in enumerate(self.split.order(records, file, draws)):
            name = "test" if number < test else "val" if number < test + val else "train"
            # A molecule that is there twice, however written, goes where the first of the two went.
            parts[home.setdefault(groups[place], name)].append(kept[place])
        return parts

    def _usable(self, record: Record, name: str) -> Usable:
        """Returns the tokens of a molecule, and what all ways to write it have in common."""
        tokens = self.tokenizer.split(record.smiles, name)
        common = Chem.MolToSmiles(checked(record.smiles, name)) if self.check else record.smiles
        if not self.tokenizer.grows:
            self.tokenizer.encode(record.smiles, name)
        length = len(tokens) + len(self.tokenizer.encode(""))
        if length > self.max_length:
            raise InputError(
                name,
                f"{length} tokens with start and end are more than max_length {self.max_length}",
            )
        return Usable(record, tokens, common)
