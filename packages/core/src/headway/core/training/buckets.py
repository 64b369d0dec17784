"""Batches of items of about equal length."""

from collections.abc import Iterable, Iterator, Sequence

import torch

from headway.core.training.randomness import mix

WINDOW = 50


class LengthBuckets:
    """Cuts an order of items into batches whose items have about the same length.

    A window of ``WINDOW`` batches is sorted by length and cut; the batches of the window then come in a
    random order, so that long and short ones mix. The result is a function of the order alone.

    Args:
        order: Indices of the items; a new order every epoch.
        lengths: Length of each item.
        batch_size: Items of a batch.
        drop_last: Leaves out the last batch when it is smaller.
    """

    def __init__(
        self,
        order: Iterable[int],
        lengths: Sequence[int],
        *,
        batch_size: int,
        drop_last: bool = False,
    ) -> None:
        self.order, self.lengths = order, lengths
        self.batch_size, self.drop_last = batch_size, drop_last

    def __len__(self) -> int:
        items = len(self.order)  # pyright: ignore[reportArgumentType]
        return items // self.batch_size if self.drop_last else -(-items // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.order)
        if self.drop_last:
            order = order[: len(self) * self.batch_size]
        span = WINDOW * self.batch_size
        for start in range(0, len(order), span):
            window = sorted(order[start : start + span], key=self.lengths.__getitem__)
            batches = [
                window[at : at + self.batch_size] for at in range(0, len(window), self.batch_size)
            ]
            generator = torch.Generator().manual_seed(mix(start, order[start], order[-1]))
            for place in torch.randperm(len(batches), generator=generator).tolist():
                yield batches[place]
