"""Windows without what follows them, for models that answer with the window itself."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.timeseries.data.windows import Batch


class WholeWindows(Dataset[Batch]):
    """All windows of a part of a table, cut when they are asked for.

    Args:
        values: Scaled series; what stands in the place of missing values does not matter.
        mask: True where a value is known; None if all are.
        marks: Calendar marks; None without.
        start: First row of the part.
        end: Row behind the last one of the part.
        context_length: Steps of a window.
        name: Of the part, for messages.

    Shape:
        values, mask: (T, N). marks: (T, M). A batch has ``x`` (B, L, N) and ``row`` (B,), the first row of
        each window counted from ``start``; with missing values ``mask``, with marks ``marks``.

    Raises:
        UserError: If the part is shorter than one window.
    """

    def __init__(
        self,
        values: Tensor,
        *,
        mask: Tensor | None,
        marks: Tensor | None,
        start: int,
        end: int,
        context_length: int,
        name: str,
    ) -> None:
        self.values, self.mask, self.marks = values, mask, marks
        self.start, self.end = start, end
        self.context_length = context_length
        if end - start < context_length:
            raise UserError(
                f"the {name} part has {end - start} rows, one window needs context_length "
                f"{context_length}; give a longer file, a shorter context or other borders"
            )

    def __len__(self) -> int:
        return self.end - self.start - self.context_length + 1

    def __getitem__(self, index: int) -> Batch:
        return {name: value[0] for name, value in self.batch([index]).items()}

    def batch(self, indices: Sequence[int]) -> Batch:
        """Returns the windows that start at some rows of the part."""
        first = torch.as_tensor(indices)
        rows = first[:, None] + self.start + torch.arange(self.context_length)
        found = {"x": self.values[rows], "row": first}
        if self.mask is not None:
            found["mask"] = self.mask[rows]
        if self.marks is not None:
            found["marks"] = self.marks[rows]
        return found
