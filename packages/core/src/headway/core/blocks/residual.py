"""Residual schemes: how a branch is normalised and added to the stream."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.blocks.drop_path import DropPath
from headway.core.blocks.layer_scale import LayerScale
from headway.core.cache import Cache
from headway.core.feedforward import FeedForward
from headway.core.layout import Layout
from headway.core.mixers import TokenMixer
from headway.core.mixers.base import last_tokens
from headway.core.sublayer import Sublayer
from headway.core.systems import system
from headway.core.taps import tap

NormFactory = Callable[[int], nn.Module]


class Residual(Sublayer):
    """A token mixer or a feed-forward on a residual branch; subclasses say where the norms are.

    Args:
        dim: Channels.
        function: The mixer or feed-forward.
        norm: Builds a norm, ``(dim)``.
        layer_scale: Where a learned scale of the branch starts; none if None.
        drop_path: Probability of dropping the branch of an item in training.
    """

    def __init__(
        self,
        dim: int,
        function: nn.Module,
        *,
        norm: NormFactory,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = norm(dim)
        self.function = function
        self.scale = LayerScale(dim, layer_scale) if layer_scale is not None else None
        self.drop_path = DropPath(drop_path) if drop_path else None

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
        """Calls the function with what concerns it."""
        if not isinstance(self.function, TokenMixer):
            return self.function(x, layout)
        if "context" in self.function.supports:
            # Bias and mask of a block are those of its self-attention.
            return self.function(
                x, layout, context=context, context_layout=context_layout, cache=cache
            )
        return self.function(x, layout, bias=bias, mask=mask, cache=cache)

    @property
    def stepwise(self) -> bool:
        """Whether a token goes through it by itself."""
        return isinstance(self.function, FeedForward) and self.function.stepwise

    def scaled(self, branch: Tensor) -> Tensor:
        """Applies the learned scale and stochastic depth to the output of the branch."""
        if self.scale is not None:
            branch = self.scale(branch)
        return self.drop_path(branch) if self.drop_path is not None else branch

    def before(self, x: Tensor) -> Tensor:
        """Returns what the branch reads."""
        return x

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Returns the stream with the branch added."""
        return x + self.scaled(branch)

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
        """Adds the branch to the stream."""
        branch = self.branch(self.before(x), layout, context, context_layout, bias, mask, cache)
        tap(self, "branch", branch)
        return self.add(x, branch), layout

    def last(self, x: Tensor, layout: Layout | None, cache: Cache | None) -> Tensor:
        """Returns the last token of each row with the branch of a mixer added, (B, 1, C)."""
        assert isinstance(self.function, TokenMixer)
        branch = self.function.last(self.before(x), layout, cache=cache)
        tap(self, "branch", branch)
        return self.add(last_tokens(x, layout), branch)


@system(
    id=82,
    name="Pre-LN",
    paper="https://arxiv.org/abs/2002.04745",
    claim="with the norm inside the branch, gradients of the last block shrink with depth at the start",
    test="packages/core/tests/parts/test_blocks_and_stacks.py",
)
class PreNorm(Residual):
    """``x + f(norm(x))``.

    Source:
        Xiong et al. 2020, https://arxiv.org/abs/2002.04745.
    """

    def before(self, x: Tensor) -> Tensor:
        """Normalises what the branch reads."""
        return self.norm(x)


class PostNorm(Residual):
    """``norm(x + f(x))``.

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.1.
    """

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Normalises the sum."""
        return self.norm(x + self.scaled(branch))


class ResidualPostNorm(Residual):
    """``x + norm(f(x))``.

    Source:
        Liu et al. 2021 (Swin v2), https://arxiv.org/abs/2111.09883, section 3.2.
    """

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Normalises the branch before it is added."""
        return x + self.scaled(self.norm(branch))


class SandwichNorm(Residual):
    """``x + norm_out(f(norm(x)))``.

    Source:
        Ding et al. 2021 (CogView), https://arxiv.org/abs/2105.13290, section 2.3.
    """

    def __init__(
        self,
        dim: int,
        function: nn.Module,
        *,
        norm: NormFactory,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(dim, function, norm=norm, layer_scale=layer_scale, drop_path=drop_path)
        self.norm_out = norm(dim)

    def before(self, x: Tensor) -> Tensor:
        """Normalises what the branch reads."""
        return self.norm(x)

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Normalises the branch before it is added."""
        return x + self.scaled(self.norm_out(branch))
