"""Batches of similar length, by how many seconds they hold once padded."""

from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from headway.core.training.sampling import EpochOrder, numbers

# Recordings that mean and deviation of the features are measured on.
MEASURED = 500


def evenly(count: int) -> range:
    """Returns which of so many recordings mean and deviation are measured on, evenly chosen."""
    return range(0, count, -(-count // MEASURED))


def by_length(
    seconds: Sequence[float], *, batch_size: int, batch_seconds: float
) -> list[list[int]]:
    """Groups recordings of similar length: little is padded, and a long one is not read beside many.

    Args:
        seconds: Length of each.
        batch_size: Most recordings of a group.
        batch_seconds: Most seconds of a group, padding counted; a longer recording is alone.

    Returns:
        Places of the recordings, the short ones first.
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(seconds)), key=seconds.__getitem__):
        last = groups[-1] if groups else []
        fits = 0 < len(last) < batch_size and seconds[place] * (len(last) + 1) <= batch_seconds
        if fits:
            last.append(place)
        else:
            groups.append([place])
    return groups


class LengthBatches:
    """Groups the indices of an epoch into batches of similar length with a budget of padded seconds.

    Every item belongs to a fixed bucket of items of similar length, and every bucket has the batch size
    that its longest item allows; which items of a bucket meet, and when, follows the order of the epoch.
    So the batches are a function of that order, and every epoch has as many. With ``quadratic_seconds`` a
    long item takes more of the budget than its length: d seconds count as ``d + d ** 2 / quadratic_seconds``.

    Args:
        order: The indices of the epoch; with several processes those of all are grouped.
        seconds: Length of every item.
        batch_seconds: Most seconds in a batch, padding counted; a longer item is a batch by itself.
        batch_size: Most items in a batch.
        quadratic_seconds: Length of an item that counts twice; none does if None.
        buckets: Number of buckets.

    Source:
        The quadratic term is that of Lhotse's samplers (``quadratic_duration``).
    """

    def __init__(
        self,
        order: Sampler[int],
        seconds: Sequence[float],
        *,
        batch_seconds: float,
        batch_size: int,
        quadratic_seconds: float | None = None,
        buckets: int = 12,
    ) -> None:
        self.order, self.seconds = order, seconds
        ranked = sorted(range(len(seconds)), key=lambda index: (seconds[index], index))
        parts = [
            ranked[len(ranked) * part // buckets : len(ranked) * (part + 1) // buckets]
            for part in range(buckets)
        ]
        self.bucket = {index: place for place, part in enumerate(parts) for index in part}
        longest = [max((seconds[index] for index in part), default=1.0) for part in parts]
        costs = [length + _quadratic(length, quadratic_seconds) for length in longest]
        self.sizes = [max(1, min(batch_size, int(batch_seconds / cost))) for cost in costs]
        self.number = sum(
            -(-len(part) // size) for part, size in zip(parts, self.sizes, strict=True)
        )

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[list[int]]:
        waiting: list[list[int]] = [[] for _ in self.sizes]
        order = self.order
        for index in numbers(order.everyone()) if isinstance(order, EpochOrder) else order:
            place = self.bucket[index]
            waiting[place].append(index)
            if len(waiting[place]) == self.sizes[place]:
                yield waiting[place]
                waiting[place] = []
        yield from (batch for batch in waiting if batch)

    def padding(self) -> float:
        """Returns which share of the seconds of an epoch is padding, by the lengths that are known."""
        whole = real = 0.0
        for batch in self:
            lengths = [self.seconds[index] for index in batch]
            whole, real = whole + max(lengths) * len(batch), real + sum(lengths)
        return 1 - real / whole if whole else 0.0


def _quadratic(length: float, seconds: float | None) -> float:
    return 0.0 if seconds is None else length**2 / seconds
