"""Orders of indices that are a function of seed and epoch."""

from collections.abc import Iterator

import torch
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

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            generator = torch.Generator().manual_seed(mix(self.seed, self.epoch, "order"))
            order = torch.randperm(self.size, generator=generator)
        else:
            order = torch.arange(self.size)
        short = len(self) * self.world - self.size
        if short:
            order = torch.cat([order, order[:short]])
        mine = order[self.rank :: self.world]
        # As Python numbers all at once, millions of windows take four times the memory.
        return (place for part in mine.split(PART) for place in part.tolist())


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
