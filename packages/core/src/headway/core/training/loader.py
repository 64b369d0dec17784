"""A loader that starts at any batch of any epoch, and items whose draws depend on their index alone."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from headway.core.training.randomness import mix, restored_cpu, seed_cpu
from headway.core.training.sampling import EpochOrder


class Seeded(Dataset[Any]):
    """A dataset whose items are drawn with generators seeded by (seed, epoch, index).

    Args:
        data: The dataset; an item may draw from torch, numpy and ``random``. One that changes with the epoch
            has a method ``set_epoch``.
        seed: Of the run.
    """

    def __init__(self, data: Dataset[Any], *, seed: int = 0) -> None:
        self.data = data
        self.seed = seed

    def __len__(self) -> int:
        return len(self.data)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, place: int | tuple[int, int]) -> Any:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: list[int | tuple[int, int]]) -> list[Any]:
        """Returns the items of a batch; a place is an index, or an epoch and an index."""
        items = []
        set_epoch = getattr(self.data, "set_epoch", None)
        # The generators of the training process stay untouched: once for a batch, for it takes longer
        # than a small item.
        with restored_cpu():
            for place in places:
                epoch, index = place if isinstance(place, tuple) else (0, place)
                seed_cpu(mix(self.seed, epoch, index))
                if set_epoch is not None:
                    set_epoch(epoch)
                items.append(self.data[index])
        return items


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """The batches of an epoch from some batch on, as lists of (epoch, index).

    The epoch travels with the index, since workers that live on never hear of a new epoch otherwise.

    Args:
        order: The order of the indices, told the epoch before each pass.
        batches: Groups of the indices of ``order``.
        position: Returns the epoch and the number of batches to leave out.
    """

    def __init__(
        self,
        order: EpochOrder,
        batches: Iterable[list[int]],
        position: Callable[[], tuple[int, int]],
    ) -> None:
        self.order = order
        self.batches = batches
        self.position = position

    def __len__(self) -> int:
        return len(self.batches)  # pyright: ignore[reportArgumentType]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        self.order.epoch, start = self.position()
        for number, batch in enumerate(self.batches):
            if number >= start:
                yield [(self.order.epoch, index) for index in batch]


class ResumableLoader(DataLoader[Any]):
    """A ``DataLoader`` that asks where the run stands when its first batch is wanted.

    Lightning makes the iterator of the first epoch before it has restored the progress of a run that it
    continues; workers would have begun with the wrong batches by then.

    Args:
        dataset: The items.
        order: The order of the indices.
        batches: Groups of the indices of ``order``.
        position: Returns the epoch and the number of its batches that are done.
        workers: Processes that load.
        collate: Makes a batch of a list of items.
        pin_memory: Whether batches go to page-locked memory.
    """

    def __init__(
        self,
        dataset: Seeded,
        *,
        order: EpochOrder,
        batches: Iterable[list[int]],
        position: Callable[[], tuple[int, int]],
        workers: int = 0,
        collate: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(
            dataset,
            batch_sampler=EpochBatches(order, batches, position),
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=collate,
            pin_memory=pin_memory,
        )

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        # A generator: nothing of this runs before the first `next`.
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing; that it exists tells Lightning that the middle of an epoch is no problem."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores nothing: the position comes from the trainer."""
