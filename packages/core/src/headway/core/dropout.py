"""The dropout that all parts use."""

from torch import Tensor, nn

from headway.core.ops.dropout import dropout


class Dropout(nn.Dropout):
    """PyTorch's dropout, but quicker on the CPU.

    Args:
        p: Probability of each element, in [0, 1).

    Shape:
        input: any. Output: the same.

    Raises:
        UserError: The probability is out of range.

    Source:
        Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, input: Tensor) -> Tensor:
        """Drops in training; does nothing otherwise."""
        return dropout(input, self.p) if self.training else input
