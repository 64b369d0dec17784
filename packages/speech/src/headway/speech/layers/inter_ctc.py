"""CTC of blocks in the middle of an encoder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from headway.core import taps
from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.systems import system


@system(
    id=None,
    name="InterCTC",
    paper="https://arxiv.org/abs/2102.03216",
    claim="blocks in the middle learn to be read by the last one's head",
    test="packages/speech/tests/models/test_ctc_attention.py",
)
class InterCTC(Module):
    """Lets the head of CTC read blocks in the middle, too, and learn from them.

    While it listens, a compiled encoder runs uncompiled (``headway.core.taps``); only training listens.

    Args:
        blocks: Which blocks are read, counted from 1; not the last one.
        weight: Share of their mean in the loss of CTC.

    Raises:
        UserError: If there are no blocks, or the weight is not in 0 to 1.

    Source:
        Lee and Watanabe 2021, https://arxiv.org/abs/2102.03216, section 2.2.
    """

    def __init__(self, *, blocks: Sequence[int], weight: float = 0.5) -> None:
        super().__init__()
        if not blocks or min(blocks) < 1:
            raise UserError(f"blocks are numbers from 1 on, at least one, got {list(blocks)}")
        if not 0 < weight < 1:
            raise UserError(f"weight is {weight}, not between 0 and 1")
        self.blocks, self.weight = tuple(blocks), weight

    @contextmanager
    def listening(self, encoder: nn.Module) -> Iterator[list[Tensor]]:
        """Collects what the blocks say inside the block of code.

        Raises:
            UserError: If the encoder has fewer blocks.
        """
        found: list[Tensor] = []
        with taps.record(encoder, "output") as taken:
            yield found
        said = [value for values in taken["output"].values() for value in values]
        if max(self.blocks) >= len(said):
            raise UserError(
                f"blocks {list(self.blocks)} are read of an encoder of {len(said)} blocks; name earlier "
                "ones, the last is read anyway"
            )
        if any(said[place - 1].shape[1] != said[-1].shape[1] for place in self.blocks):
            raise UserError(
                f"blocks {list(self.blocks)} are read where tokens are merged later; name blocks behind that"
            )
        found.extend(said[place - 1] for place in self.blocks)

    def mixed(self, last: Tensor, middle: Sequence[Tensor]) -> Tensor:
        """Returns the loss of all, from that of the last block and those of the blocks in the middle."""
        return (1 - self.weight) * last + self.weight * sum(middle, last.new_zeros(())) / len(
            middle
        )
