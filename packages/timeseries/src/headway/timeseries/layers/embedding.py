"""Windows of series as tokens: one token for a series, or one for a moment."""

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.layout import Layout
from headway.core.module import Module
from headway.core.positions.sinusoidal import SinusoidalPosition


class InvertedEmbedding(Module):
    """Projects the whole window of a series to one token.

    Args:
        context_length: Steps of the window.
        dim: Channels of a token.
        dropout: Probability of dropping a channel in training.

    Shape:
        x: (B, context_length, N). Output: (B, N, dim).

    Source:
        Liu et al. 2023, https://arxiv.org/abs/2310.06625, section 3.1.
    """

    def __init__(self, context_length: int, dim: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.projection = nn.Linear(context_length, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.dropout(self.projection(x.transpose(1, 2)))


class SeriesEmbedding(Module):
    """One token for each moment: its values and neighbours, its position, its calendar marks.

    Args:
        variates: Series.
        dim: Channels of a token, even.
        marks: Calendar marks of a moment; 0 for none.
        dropout: Probability of dropping a channel in training.
        positions: Whether the position of a moment is added.
        bias: Whether the layers learn a bias, as in the first published code.

    Shape:
        x: (B, L, variates). marks: (B, L, marks). Output: (B, L, dim).

    Source:
        Zhou et al. 2020, https://arxiv.org/abs/2012.07436, appendix B.
    """

    def __init__(
        self,
        variates: int,
        dim: int,
        *,
        marks: int = 0,
        dropout: float = 0.0,
        positions: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.values = nn.Conv1d(variates, dim, 3, bias=bias)
        nn.init.kaiming_normal_(self.values.weight, mode="fan_in", nonlinearity="leaky_relu")
        self.position = SinusoidalPosition(dim) if positions else None
        self.marks = nn.Linear(marks, dim, bias=bias) if marks else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, marks: Tensor | None = None) -> Tensor:
        """Returns the tokens."""
        wrapped = F.pad(x.transpose(1, 2), (1, 1), mode="circular")
        tokens = self.values(wrapped).transpose(1, 2)
        if self.position is not None:
            layout = Layout(positions=Layout().token_positions(x.shape[1], x.device))
            tokens = tokens + self.position(layout, x.shape[1]).to(tokens.dtype)
        if self.marks is not None and marks is not None:
            tokens = tokens + self.marks(marks)
        return self.dropout(tokens)
