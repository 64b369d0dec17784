"""Gated feed-forwards."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.feedforward.base import FeedForward, hidden_width
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.ops.inference import silu_gate


class GLU(FeedForward):
    """A gated linear unit: ``fc2(activation(gate) * value)``; SwiGLU with the default activation.

    Args:
        dim: Channels of a token.
        mlp_ratio: Hidden width as a multiple of ``dim``; ignored if ``hidden_dim`` is given. 8/3 costs
            as many parameters as an MLP of ratio 4.
        hidden_dim: Width of the gate and of the value.
        activation: Class of the activation of the gate.
        dropout: Probability of dropping a hidden or an output channel in training.
        bias: Whether the layers learn a bias.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Shazeer 2020, https://arxiv.org/abs/2002.05202, eq. 6.
    """

    def __init__(
        self,
        dim: int,
        *,
        mlp_ratio: float = 8 / 3,
        hidden_dim: int | None = None,
        activation: Callable[[], nn.Module] = nn.SiLU,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        hidden = hidden_width(dim, hidden_dim, mlp_ratio)
        self.fc1 = FusedLinear(dim, {"gate": hidden, "value": hidden}, bias=bias)
        self.activation = activation()
        self.fc2 = nn.Linear(hidden, dim, bias=bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Transforms each token."""
        return self.dropout(self.fc2(self.dropout(self._gated(self.fc1(x)))))

    def _gated(self, both: Tensor) -> Tensor:
        if type(self.activation) is nn.SiLU:
            return silu_gate(both)
        gate, value = both.chunk(2, dim=-1)
        return self.activation(gate) * value


SwiGLU = partial(GLU, bias=False)
"""As in Llama (Shazeer 2020, https://arxiv.org/abs/2002.05202): SiLU gates, no biases."""
