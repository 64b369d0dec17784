"""Batches of pictures of one size."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence


class SizeBatches:
    """Groups indices such that all of a batch have one size; the order is that of the last of each batch.

    Args:
        order: Indices.
        sizes: Of each item.
        batch_size: Items of a batch.
        drop_last: Whether batches that stay smaller are left out.
    """

    def __init__(
        self,
        order: Iterable[int],
        sizes: Sequence[Hashable],
        batch_size: int,
        *,
        drop_last: bool = False,
    ) -> None:
        self.order, self.sizes = order, sizes
        self.batch_size, self.drop_last = batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        waiting: dict[Hashable, list[int]] = defaultdict(list)
        for index in self.order:
            batch = waiting[self.sizes[index]]
            batch.append(index)
            if len(batch) == self.batch_size:
                yield waiting.pop(self.sizes[index])
        if not self.drop_last:
            yield from waiting.values()

    def __len__(self) -> int:
        counts: dict[Hashable, int] = defaultdict(int)
        for index in self.order:
            counts[self.sizes[index]] += 1
        up = 0 if self.drop_last else self.batch_size - 1
        return sum((number + up) // self.batch_size for number in counts.values())
