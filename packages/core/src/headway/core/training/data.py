"""The base of all data modules: one order and one set of random draws for every seed and epoch."""

from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from headway.core.errors import UserError
from headway.core.training.fingerprint import fingerprint
from headway.core.training.loader import ResumableLoader, Seeded
from headway.core.training.sampling import EpochOrder, Shard


class DataModule(LightningDataModule):
    """Gives the trainer its batches, so that a run can be continued at any batch.

    A subclass fills ``train_set``, ``val_set``, ``test_set`` and ``predict_set`` in ``setup`` and says in
    ``preprocessing`` what a user of the model must know. Datasets are map-style (``__len__`` and
    ``__getitem__``); random augmentation may draw from torch, numpy and ``random``: the draws are a
    function of seed, epoch and index, whatever the number of workers.

    Args:
        batch_size: Items of a batch, on each device.
        workers: Processes that load; 0 loads in the training process.
        seed: Of the order, the augmentation and whatever else is drawn.
        shuffle: Whether the training items come in a new order every epoch.
        drop_last: Leaves out the last training batch when it is smaller.
        eval_batch_size: Items of a batch of validation, test and prediction; by default ``batch_size``.
    """

    train_set: Dataset[Any] | None = None
    val_set: Dataset[Any] | None = None
    test_set: Dataset[Any] | None = None
    predict_set: Dataset[Any] | None = None

    collate: Callable[[list[Any]], Any] | None = None
    """Makes a batch of a list of items; None for torch's own. A subclass may define it as a method."""

    def __init__(
        self,
        *,
        batch_size: int,
        workers: int = 0,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("workers", workers, 0),
            ("eval_batch_size", eval_batch_size or batch_size, 1),
        ):
            if value < least:
                raise UserError(f"{name} is {value}; it must be {least} or more")
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.eval_batch_size = eval_batch_size or batch_size

    def preprocessing(self) -> dict[str, Any]:
        """Returns what a user of the model needs (classes, sizes, statistics), as JSON values."""
        return {}

    def sources(self) -> list[str]:
        """Returns the files and folders that the data come from; override it where there are more."""
        path = getattr(self, "path", None)
        return [] if path is None else [str(path)]

    def fingerprints(self) -> dict[str, str]:
        """Returns a number for each of the sources that changes when it does."""
        found = {source: fingerprint(source) for source in self.sources()}
        return {source: number for source, number in found.items() if number is not None}

    def train_batches(self, order: Sampler[int]) -> Iterable[list[int]]:
        """Groups the indices of one epoch into batches; override it to sort by length, say.

        The result must be a function of ``order`` alone, and have a length.
        """
        return BatchSampler(order, self.batch_size, self.drop_last)

    def seeded(self, data: Dataset[Any]) -> Seeded:
        """Makes the items a function of seed, epoch and index; override it to make whole batches."""
        return Seeded(data, seed=self.seed)

    def train_dataloader(self) -> DataLoader[Any]:
        """Returns the batches of ``train_set``."""
        data = self._needed("train_set")
        rank, world = self._place()
        # A trainer that is asked to overfit a few batches must see the same ones in every epoch.
        overfit = bool(getattr(self.trainer, "overfit_batches", 0))
        order = EpochOrder(
            len(data),  # pyright: ignore[reportArgumentType]
            seed=self.seed,
            shuffle=self.shuffle and not overfit,
            rank=rank,
            world=world,
        )
        return ResumableLoader(
            self.seeded(data),
            order=order,
            batches=self.train_batches(order),
            position=self._position,
            workers=self.workers,
            collate=self.collate,
            pin_memory=self._pin_memory(),
        )

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Returns the batches of ``val_set``, or none where it is None."""
        return [] if self.val_set is None else self._eval_loader(self.val_set)

    def test_dataloader(self) -> DataLoader[Any]:
        """Returns the batches of ``test_set``."""
        return self._eval_loader(self._needed("test_set"))

    def predict_dataloader(self) -> DataLoader[Any]:
        """Returns the batches of ``predict_set``."""
        return self._eval_loader(self._needed("predict_set"))

    def _eval_loader(self, data: Dataset[Any]) -> DataLoader[Any]:
        rank, world = self._place()
        return DataLoader(
            self.seeded(data),
            batch_size=self.eval_batch_size,
            sampler=Shard(len(data), rank=rank, world=world),  # pyright: ignore[reportArgumentType]
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            collate_fn=self.collate,
            pin_memory=self._pin_memory(),
        )

    def _needed(self, name: str) -> Dataset[Any]:
        data = getattr(self, name)
        if data is None:
            raise UserError(f"{type(self).__name__} has no {name}; its setup() did not make one")
        return data

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _pin_memory(self) -> bool:
        device = getattr(getattr(self.trainer, "strategy", None), "root_device", None)
        return device is not None and device.type == "cuda"

    def _position(self) -> tuple[int, int]:
        """Returns the epoch and the number of its batches that were already trained on."""
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        return self.trainer.current_epoch, loop.epoch_loop.batch_progress.current.ready
