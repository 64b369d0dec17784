"""A block that decides for each item which of its branches are worth running."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactory, PreNormBlock
from headway.core.blocks.residual import NormFactory, Residual
from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.penalties import Penalised
from headway.core.sublayer import Sublayer
from headway.core.systems import system
from headway.core.taps import tap

# Branches start open, nine times out of ten.
START = 2.2


@system(
    id=452,
    name="I3D",
    paper="https://arxiv.org/abs/2303.07624",
    claim="gates that read the item spend branches on those that need them; gates that do not cannot",
    test="packages/core/tests/parts/test_dynamic_depth.py",
)
class DynamicDepthBlock(Penalised, Sublayer):
    """A block with a gate for each residual branch, decided by the mean of the tokens that enter it: I3D.

    Training draws gates, open or shut, with the gradient of their relaxation (Gumbel-softmax); each open one
    costs something. Otherwise a branch is open where its probability is above ``threshold``, and those
    items alone run it.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        inner: Builds the block, ``(dim, heads, ...)``.
        mixer: Builds the token mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.
        hidden_dim: Width of the layer that reads the mean.
        cost: What an open branch adds to the loss.
        threshold: Probability above which a branch is open.
        temperature: Of the relaxation.

    Shape:
        x: (B, N, dim). Output: (B, N, dim) and the layout.

    Raises:
        UserError: If the block has no residual branches, or a number is out of range.

    Source:
        Peng et al. 2023, https://arxiv.org/abs/2303.07624, the local gates, from memory of the paper: that
        gates are hard in the forward pass and begin open is our choice. Its global gates are not built.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        inner: BlockFactory = PreNormBlock,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        hidden_dim: int = 32,
        cost: float = 0.01,
        threshold: float = 0.5,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if cost < 0 or not 0 < threshold < 1 or temperature <= 0:
            raise UserError(
                f"cost {cost} must not be negative, threshold {threshold} is a probability, and "
                f"temperature {temperature} is above 0"
            )
        make: Any = inner
        self.block: nn.Module = make(
            dim,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
        )
        branches = [
            name for name, part in self.block.named_children() if isinstance(part, Residual)
        ]
        if not branches:
            raise UserError(f"{type(self.block).__name__} has no residual branches to gate")
        self.branches = tuple(branches)
        self.reader = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, len(branches))
        )
        self.cost, self.threshold, self.temperature = cost, threshold, temperature

    def forward(
        self,
        x: Tensor,
        layout: Layout | None = None,
        *,
        context: Tensor | None = None,
        context_layout: Layout | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Layout | None]:
        """Runs the branches that are open."""
        if cache is not None:
            self.init_cache()
        gates = self.gates(x, layout)
        tap(self, "gates", gates)
        steps: dict[str, Any] = {
            "context": context,
            "context_layout": context_layout,
            "bias": bias,
            "mask": mask,
        }
        for name, part in self.block.named_children():
            if name in self.branches:
                gate = gates[:, self.branches.index(name)]
                x = self._gated(cast(Residual, part), gate, x, layout, steps)
            elif isinstance(part, Sublayer):
                x, layout = part(x, layout, **steps)
            else:
                x = part(x)  # the norm that ends a macaron block
        tap(self, "output", x)
        return x, layout

    def gates(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Returns the gate of each branch for each item, 0 or 1, (B, branches)."""
        logits = self.reader(_mean(x, layout)).float() + START
        if not self.training:
            return (logits.sigmoid() > self.threshold).to(x.dtype)
        uniform = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
        soft = ((logits + uniform.logit()) / self.temperature).sigmoid()
        # Open or shut on the way forward, the slope of the relaxation on the way back.
        drawn = (soft > 0.5).to(soft.dtype) - soft.detach() + soft
        self.penalty = self.cost * drawn.sum(1).mean()
        return drawn.to(x.dtype)

    def _gated(
        self,
        branch: Residual,
        gate: Tensor,
        x: Tensor,
        layout: Layout | None,
        steps: dict[str, Any],
    ) -> Tensor:
        if self.training or torch.compiler.is_compiling():
            after, _ = branch(x, layout, **steps)
            return torch.lerp(x, after, gate[:, None, None])
        rows = gate.nonzero()[:, 0]
        if len(rows) == 0:
            return x
        if len(rows) == len(x):
            return branch(x, layout, **steps)[0]
        chosen = {name: _rows(value, rows, len(x)) for name, value in steps.items()}
        some = layout.rows(rows) if layout is not None else None
        return x.index_copy(0, rows, branch(x[rows], some, **chosen)[0])

    def init_cache(self, *_: Any) -> Cache:
        """Refuses: the gates read the whole item.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "DynamicDepthBlock cannot run step by step: its gates read the mean of all tokens; use inner "
            "by itself"
        )


def _mean(x: Tensor, layout: Layout | None) -> Tensor:
    """Returns the mean of the real tokens, (B, C)."""
    if layout is not None and layout.offsets is not None:
        raise UserError(
            "gates need items by themselves; pad them (lengths) instead of packing them"
        )
    real = layout.token_mask(x.shape[1]) if layout is not None else None
    if real is None:
        return x.mean(1)
    total = x.masked_fill(~real[..., None], 0.0).sum(1)
    return total / real.sum(1, keepdim=True).clamp_min(1)


def _rows(value: Any, rows: Tensor, batch: int) -> Any:
    """Returns what concerns some items."""
    if isinstance(value, Layout):
        return value.rows(rows)
    return value[rows] if isinstance(value, Tensor) and len(value) == batch > 1 else value
