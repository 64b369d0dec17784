"""Orders of indices that are a function of seed and epoch."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from headway.core.training.randomness import mix

PART = 4096  # indices that become Python numbers at once


class EpochOrder(Sampler[int]):
    """The indices of one epoch, shared out over the processes.

    Args:
        size: Number of items.
        seed: Of the shuffling.
        shuffle: Whether every epoch has a new order.
        rank: Of this process.
        world: Number of processes; all get the same number of items, so the first items of the order
            are taken twice where they do not divide.
    """

    def __init__(
        self, size: int, *, seed: int = 0, shuffle: bool = True, rank: int = 0, world: int = 1
    ) -> None:
        self.size = size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world = world
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.size // self.world)

    def everyone(self) -> Tensor:
        """Returns the indices of all processes, each once, (size,)."""
        if not self.shuffle:
            return torch.arange(self.size)
        generator = torch.Generator().manual_seed(mix(self.seed, self.epoch, "order"))
        return torch.randperm(self.size, generator=generator)

    def __iter__(self) -> Iterator[int]:
        order = self.everyone()
        short = len(self) * self.world - self.size
        if short:
            order = torch.cat([order, order[:short]])
        mine = order[self.rank :: self.world]
        return numbers(mine)


def numbers(order: Tensor) -> Iterator[int]:
    """Yields indices as Python numbers; all at once, millions of windows take four times the memory."""
    return (place for part in order.split(PART) for place in part.tolist())


class SharedBatches:
    """The batches of all processes, of which each takes every ``world``-th: all take as many steps.

    Where the number does not divide, the first batches are taken twice.

    Args:
        batches: The batches of an epoch, the same on every process.
        rank: Of this process.
        world: Number of processes.
    """

    def __init__(self, batches: Iterable[list[int]], *, rank: int, world: int) -> None:
        self.batches, self.rank, self.world = batches, rank, world

    def __len__(self) -> int:
        return -(-len(self.batches) // self.world)  # pyright: ignore[reportArgumentType]

    def __iter__(self) -> Iterator[list[int]]:
        first: list[list[int]] = []
        number = -1
        for number, batch in enumerate(self.batches):
            if len(first) < self.world:
                first.append(batch)
            if number % self.world == self.rank:
                yield batch
        for extra in range(number + 1, len(self) * self.world):
            if extra % self.world == self.rank:
                yield first[(extra - number - 1) % len(first)]


class Shard(Sampler[int]):
    """Every ``world``-th index, in order; no item is counted twice.

    Args:
        size: Number of items.
        rank: Of this process.
        world: Number of processes.
    """

    def __init__(self, size: int, *, rank: int = 0, world: int = 1) -> None:
        self.indices = range(rank, size, world)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
