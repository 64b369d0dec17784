"""Blocks with small parts beside trained ones: adapters and prompts, for fine-tuning with few parameters."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactory, PreNormBlock
from headway.core.blocks.residual import NormFactory, PreNorm
from headway.core.cache import Cache
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import GELU, MLP
from headway.core.init import truncated_normal_
from headway.core.layout import Layout
from headway.core.linear import SilentLinear
from headway.core.mixers import GatedConvolutionMixer, SelfAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.systems import system


class Beside(Module):
    """A small part that is put beside trained ones; a checkpoint of these need not hold it.

    What it does not hold counts as new: it learns, whatever is frozen.
    """

    optional_weights: ClassVar[bool] = True


class BottleneckAdapter(Beside):
    """Few channels with an activation between them and the many; nothing at first.

    Args:
        dim: Channels of a token.
        width: Channels in between.
        activation: Class of the activation.
        dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). Output: the same, to be added.

    Source:
        Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, section 2.1.
    """

    def __init__(
        self,
        dim: int,
        *,
        width: int = 16,
        activation: Callable[[], nn.Module] = GELU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width < 1:
            raise UserError(f"width is {width}; it must be at least 1")
        self.down = nn.Linear(dim, width)
        self.activation = activation()
        self.up = SilentLinear(width, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Transforms each token."""
        return self.dropout(self.up(self.activation(self.down(x))))


class ConvolutionAdapter(Beside):
    """The convolution module of the Conformer through few channels; nothing at first.

    It convolves the tokens in the order in which they lie, class tokens too.

    Args:
        dim: Channels of a token.
        width: Channels in between.
        window: Length of the neighbourhood in tokens, odd.
        dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). Output: the same, to be added.

    Source:
        Cappellazzo et al. 2023, https://arxiv.org/abs/2312.03694.
    """

    def __init__(self, dim: int, *, width: int = 16, window: int = 9, dropout: float = 0.0) -> None:
        super().__init__()
        if width < 1:
            raise UserError(f"width is {width}; it must be at least 1")
        self.norm = LayerNorm(dim)
        self.mixer = GatedConvolutionMixer(
            dim, window=window, width=width, dropout=dropout, bias=True
        )
        self.mixer.projection = SilentLinear(width, dim)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Convolves."""
        given = Layout() if layout is None else layout
        if given.offsets is not None:
            raise UserError("a ConvolutionAdapter would hear across packed items; pad them instead")
        row = Layout(lengths=given.lengths, valid=given.valid)
        return self.mixer(self.norm(x), row)


class AdaptedBranch(PreNorm):
    """``x + f(norm(x))`` with an adapter that reads what ``f`` reads, or what it answers.

    Args:
        dim: Channels.
        function: The mixer or feed-forward.
        adapter: What is added.
        parallel: Whether the adapter reads what ``f`` reads.
        norm: Builds a norm, ``(dim)``.
        layer_scale: Where a learned scale of the branch starts; none if None.
        drop_path: Probability of dropping the branch of an item in training.
    """

    def __init__(
        self,
        dim: int,
        function: nn.Module,
        *,
        adapter: nn.Module,
        parallel: bool,
        norm: NormFactory,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(dim, function, norm=norm, layer_scale=layer_scale, drop_path=drop_path)
        self.adapter, self.parallel = adapter, parallel

    @property
    def stepwise(self) -> bool:
        """Whether a token goes through it by itself."""
        return super().stepwise and isinstance(self.adapter, BottleneckAdapter)

    def branch(
        self,
        x: Tensor,
        layout: Layout | None,
        context: Tensor | None,
        context_layout: Layout | None,
        bias: Tensor | None,
        mask: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        """Calls the function and the adapter."""
        if cache is not None and not isinstance(self.adapter, BottleneckAdapter):
            raise UserError(
                f"a {type(self.adapter).__name__} reads whole sequences; step by step take "
                "BottleneckAdapter"
            )
        out = super().branch(x, layout, context, context_layout, bias, mask, cache)
        return out + self.adapter(x if self.parallel else out, layout)


@system(
    id=197,
    name="PETL-AST",
    paper="https://arxiv.org/abs/2312.03694",
    claim="beside a frozen spectrogram transformer an adapter that convolves hears what one without a "
    "convolution cannot, with few parameters",
    test="packages/speech/tests/models/test_petl.py",
)
class AdaptedBlock(PreNormBlock):
    """A pre-norm block with adapters; without what they learn it is the block of the trained model.

    In the place of a model's block (``block=``), with its weights: what they lack learns, and a strategy such
    as ``HeadOnly`` freezes the rest.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        adapter: Builds an adapter, ``(dim)``.
        around: Which sublayers get one: ``("mixer", "feedforward")`` as Houlsby et al. have it, or
            ``("feedforward",)`` as Pfeiffer et al. do.
        parallel: Whether an adapter reads what the sublayer reads, or else what it answers.
        mixer: Builds the token mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.

    Shape:
        x: (B, N, dim). Output: (B, N, dim) and the layout.

    Raises:
        UserError: If there is no such sublayer.

    Source:
        Cappellazzo et al. 2023, https://arxiv.org/abs/2312.03694; Houlsby et al. 2019,
        https://arxiv.org/abs/1902.00751; Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00247.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        adapter: Callable[[int], nn.Module] = BottleneckAdapter,
        around: Sequence[str] = ("mixer", "feedforward"),
        parallel: bool = True,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(
            dim,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
        )
        known = [name for name, _ in self.named_children()]
        if isinstance(around, str) or not around or not set(around) <= set(known):
            raise UserError(f"around is {around!r}; name some of {', '.join(known)}")
        for name in around:
            plain: PreNorm = getattr(self, name)
            branch = AdaptedBranch(
                dim,
                plain.function,
                adapter=adapter(dim),
                parallel=parallel,
                norm=norm,
                layer_scale=layer_scale,
                drop_path=drop_path,
            )
            setattr(self, name, branch)


class Prompts(Beside):
    """Tokens that are learned.

    Args:
        dim: Channels of a token.
        count: How many.

    Shape:
        Output: (1, count, dim).
    """

    undecayed: ClassVar[tuple[str, ...]] = ("tokens",)

    def __init__(self, dim: int, *, count: int) -> None:
        super().__init__()
        if count < 1:
            raise UserError(f"there are {count} prompts; give at least 1")
        self.tokens = nn.Parameter(truncated_normal_(torch.empty(1, count, dim)))

    def forward(self) -> Tensor:
        """Returns the tokens."""
        return self.tokens


class PromptedBranch(PreNorm):
    """A mixer that reads learned tokens in front of the others, and what becomes of them is forgotten.

    Args:
        dim: Channels.
        function: The mixer.
        prompts: How many tokens.
        norm: Builds a norm, ``(dim)``.
        layer_scale: Where a learned scale of the branch starts; none if None.
        drop_path: Probability of dropping the branch of an item in training.
    """

    def __init__(
        self,
        dim: int,
        function: nn.Module,
        *,
        prompts: int,
        norm: NormFactory,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(dim, function, norm=norm, layer_scale=layer_scale, drop_path=drop_path)
        self.prompts = Prompts(dim, count=prompts)

    def branch(
        self,
        x: Tensor,
        layout: Layout | None,
        context: Tensor | None,
        context_layout: Layout | None,
        bias: Tensor | None,
        mask: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        """Calls the mixer with more tokens.

        Raises:
            UserError: If tokens are packed, masked, merged or come step by step.
        """
        given = Layout() if layout is None else layout
        others = (bias, mask, cache, given.offsets, given.valid, given.positions, given.sizes)
        if any(one is not None for one in others):
            raise UserError(
                "prompts stand in front of whole, right-padded sequences: no bias, mask or cache, no packed, "
                "moved or merged tokens; use adapters there"
            )
        tokens = self.norm(self.prompts())
        count = tokens.shape[1]
        lengths = None if given.lengths is None else given.lengths + count
        longer = given.replace(prefix=given.prefix + count, lengths=lengths)
        joined = torch.cat([tokens.expand(len(x), -1, -1), x], dim=1)
        out = super().branch(joined, longer, context, context_layout, None, None, None)
        return out[:, count:]


class PromptedBlock(PreNormBlock):
    """A pre-norm block whose mixer reads learned tokens of its own in front of the others.

    In the place of a model's block (``block=``), with its weights, as an ``AdaptedBlock``.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        prompts: How many tokens.
        mixer: Builds the token mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.

    Shape:
        x: (B, N, dim). Output: (B, N, dim) and the layout.

    Raises:
        UserError: If there are no prompts.

    Source:
        Jia et al. 2022 (deep prompts), https://arxiv.org/abs/2203.12119, eq. 5: what a block makes of its
        prompts, the next one does not read.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        prompts: int = 8,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(
            dim,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
        )
        self.mixer = PromptedBranch(
            dim,
            self.mixer.function,
            prompts=prompts,
            norm=norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
        )
