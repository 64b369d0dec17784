"""What the rows of a batch have written so far."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Written:
    """The sequences that the rows of a batch write at present; read by processors of logits.

    Args:
        sequences: Tokens of all sequences, (count, longest), filled up behind what is written.
        all_lengths: Tokens of each sequence so far, (count,).
        rows: Which sequence each row writes, (R,).
    """

    sequences: Tensor
    all_lengths: Tensor
    rows: Tensor

    @property
    def tokens(self) -> Tensor:
        """What each row has written, its prompt included, (R, longest)."""
        return self.sequences[self.rows]

    @property
    def lengths(self) -> Tensor:
        """How many tokens of each row are written, (R,)."""
        return self.all_lengths[self.rows]
