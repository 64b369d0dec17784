"""Continuous actions out of noise, by a transformer."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from headway.core.blocks import ConditionedBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.embeddings import step_embedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import AdaptiveLayerNorm
from headway.core.positions import SinusoidalPosition
from headway.rl.layers.actions.continuous import Scaling
from headway.rl.layers.actions.noised import NoisedActions
from headway.rl.layers.noising import DiffusionNoising, Noising
from headway.rl.spaces import Space


class DenoisingActions(NoisedActions):
    """Takes noise off actions, one or a chunk of them: a diffusion or a flow, whatever ``noising`` is.

    Each action is a token; blocks whose norms and gates are chosen by what was seen and by how noisy the
    actions are (adaLN-Zero) say what was noise. With the features of single steps it is a head of any
    decision model; of chunks, ``chunk_loss`` and ``generate`` are asked.

    Args:
        dim: Channels of a token, even.
        space: A ``Box``, or how many numbers.
        depth: Blocks.
        heads: Heads of the mixers.
        noising: Builds what noise does: ``DiffusionNoising`` or ``FlowNoising``.
        mixer: Builds the mixer of the actions of a chunk, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        scaling: By ``bounds`` or by ``statistics``.

    Shape:
        actions: (B, T, *shape). features: (..., dim).

    Raises:
        UserError: If there are no blocks, or ``dim`` is odd.

    Source:
        Dasari et al. 2024 (DiT policy), https://arxiv.org/abs/2410.10088, section 3; Peebles and Xie 2022,
        https://arxiv.org/abs/2212.09748.
    """

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        depth: int = 2,
        heads: int = 4,
        noising: Callable[[], Noising] = DiffusionNoising,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        scaling: Scaling = "bounds",
    ) -> None:
        super().__init__(dim, space, noising=noising, scaling=scaling)
        if depth < 1:
            raise UserError(f"depth is {depth}; at least 1 block is needed")
        self.place = SinusoidalPosition(dim)
        self.embedding = nn.Linear(self.action_dim, dim)
        self.step = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList(
            ConditionedBlock(dim, heads, mixer=mixer, feedforward=feedforward) for _ in range(depth)
        )
        self.norm = AdaptiveLayerNorm(dim)
        self.head = nn.Linear(dim, self.action_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.embedding(self.scaled(actions))

    def denoise(
        self, x: Tensor, step: Tensor, seen: Sequence[Tensor], layout: Layout | None = None
    ) -> Tensor:
        """Returns what is said of noisy actions; the last of ``seen`` stands for those that are missing."""
        tokens = self.embedding(x)
        tokens = tokens + self.place(Layout(), x.shape[1]).to(tokens)
        time = self.step(step_embedding(step, self.dim).to(tokens))
        for place, block in enumerate(self.blocks):
            tokens = block(tokens, time + seen[min(place, len(seen) - 1)], layout)
        return self.head(self.norm(tokens, time + seen[-1]))
