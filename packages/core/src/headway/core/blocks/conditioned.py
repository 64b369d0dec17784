"""Blocks whose branches are chosen by a condition of the item."""

from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.module import Module
from headway.core.norms import AdaptiveLayerNorm


class ConditionedBranch(Module):
    """``x + gate * f(norm(x))``; gain, bias and gate are chosen by a condition, the gate starts at 0.

    Args:
        dim: Channels of a token.
        function: Mixer or feed-forward.

    Shape:
        x: (B, N, dim). condition: (B, dim). Output: the same as x.

    Source:
        Peebles and Xie 2022 (DiT), https://arxiv.org/abs/2212.09748, section 3.2.
    """

    def __init__(self, dim: int, function: nn.Module) -> None:
        super().__init__()
        self.norm = AdaptiveLayerNorm(dim)
        self.function = function
        self.gate = nn.Linear(dim, dim)
        self.init_own_()

    def init_own_(self) -> None:
        """Begins with a closed gate: the branch adds nothing."""
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x: Tensor, condition: Tensor, layout: Layout | None = None) -> Tensor:
        """Adds the branch."""
        return x + self.gate(condition)[:, None] * self.function(self.norm(x, condition), layout)


class ConditionedBlock(Module):
    """A mixer and a feed-forward, each on a ``ConditionedBranch``; at first it changes nothing.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        mixer: Builds the mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.

    Shape:
        x: (B, N, dim). condition: (B, dim). Output: the same as x.

    Source:
        Peebles and Xie 2022 (DiT), https://arxiv.org/abs/2212.09748, section 3.2 (adaLN-Zero).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__()
        self.mixer = ConditionedBranch(dim, mixer(dim, heads))
        self.feedforward = ConditionedBranch(dim, feedforward(dim))

    def forward(self, x: Tensor, condition: Tensor, layout: Layout | None = None) -> Tensor:
        """Mixes and transforms the tokens."""
        return self.feedforward(self.mixer(x, condition, layout), condition, layout)
