"""Merging of tokens for a branch alone: the stream keeps all of them."""

from collections.abc import Callable, Iterator
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.feedforward import FeedForward
from headway.core.layout import Layout
from headway.core.mixers import TokenMixer
from headway.core.resample.matching import Matching, give_back, join
from headway.core.stacks import Stack
from headway.core.systems import system

Where = Literal["mixer", "feedforward"]
Model = TypeVar("Model", bound=nn.Module)


class MergedMixer(TokenMixer):
    """A mixer that sees merged tokens; each token gets back what became of the one that it reads.

    Args:
        inner: The mixer.
        matching: Decides which tokens are merged.

    Shape:
        x: (B, N, C). Output: the same.
    """

    supports: ClassVar[frozenset[str]] = frozenset(
        {"lengths", "valid", "prefix", "causal", "sizes"}
    )

    def __init__(self, inner: TokenMixer, matching: Matching) -> None:
        super().__init__()
        self.inner, self.matching, self.causal = inner, matching, inner.causal

    def mix(
        self,
        x: Tensor,
        layout: Layout,
    ) -> Tensor:
        """Merges, mixes and gives back."""
        return _merged(self.inner, self.matching, x, layout)

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> Cache:
        """Refuses: one token at a time has nothing to merge with."""
        raise UserError(
            f"{type(self.inner).__name__} with merged tokens cannot run step by step; "
            "call unmerge_model(model) before a cache is used"
        )


class MergedFeedForward(FeedForward):
    """A feed-forward that sees merged tokens; each token gets back that of the one that it reads.

    Args:
        inner: The feed-forward.
        matching: Decides which tokens are merged.

    Shape:
        x: (B, N, C). Output: the same.
    """

    stepwise: ClassVar[bool] = False

    def __init__(self, inner: FeedForward, matching: Matching) -> None:
        super().__init__()
        self.inner, self.matching = inner, matching

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Merges, transforms and gives back."""
        layout = layout if layout is not None else Layout()
        # What attention adds to the tokens does not concern a feed-forward.
        return _merged(self.inner, self.matching, x, layout.replace(embedding=None))


def _merged(
    function: Callable[[Tensor, Layout], Tensor], matching: Matching, x: Tensor, layout: Layout
) -> Tensor:
    groups = matching(x, layout)
    if groups is None:
        return function(x, layout)
    merged, merged_layout = join(x, layout, groups)
    return give_back(function(merged, merged_layout), layout, groups)


@system(
    id=None,
    name="ToMe for Stable Diffusion",
    paper="https://arxiv.org/abs/2303.17604",
    claim="a branch computes means of similar tokens and gives each token its result, so none is lost",
    test="packages/core/tests/reduction/test_merging.py",
)
def merge_tokens(model: Model, matching: Matching, *, where: Where = "mixer") -> Model:
    """Lets a branch of every block work on fewer tokens, in place; the stream keeps all of them.

    Each block merges similar tokens before the branch and gives every token its result afterwards, so
    that outputs have the same places as without: pictures keep their grid, sequences their length.
    ``unmerge_model`` takes it back. Trained weights stay as they are; merging needs no training.

    Finding the pairs of ``MostSimilar`` costs N * N / 4 dot products of C channels. For the feed-forward that
    pays while N is well below 4 * mlp_ratio * C tokens: in the later stages of a pyramid, not in the first.

    Args:
        model: A model with stacks of blocks.
        matching: Decides which tokens are merged: ``MostSimilar``, or for models with causal mixers
            ``Neighbours``.
        where: Which branch: the mixer of the tokens among themselves, or the feed-forward. Mixers of a
            context and the convolution of macaron blocks stay as they are.

    Returns:
        The model.

    Raises:
        UserError: If the model has no blocks, tokens are merged there already, the mixer cannot take
            merged tokens, or a causal model would look ahead.

    Source:
        Bolya and Hoffman 2023, https://arxiv.org/abs/2303.17604, sections 3 and 4.
    """
    found = [
        (block, path, part)
        for block in _blocks(model)
        for path, part in block.named_modules()
        if isinstance(part, (TokenMixer, FeedForward)) and _chosen(path, part, where)
    ]
    if not found:
        raise UserError(
            f"{type(model).__name__} has no stack of blocks with a {where} to merge for"
        )
    for block, _, part in found:
        _check(block, part, matching)
    for block, path, part in found:
        if isinstance(part, TokenMixer):
            merged = MergedMixer(part, matching)
        else:
            merged = MergedFeedForward(part, matching)
        block.set_submodule(path, merged)
    return model


def unmerge_model(model: Model) -> Model:
    """Takes back what ``merge_tokens`` did, in place; the model is exactly what it was.

    Returns:
        The model.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, (MergedMixer, MergedFeedForward)):
            model.set_submodule(name, module.inner)
    return model


def is_merged(model: nn.Module) -> bool:
    """Whether tokens are merged somewhere in the model."""
    return any(isinstance(m, (MergedMixer, MergedFeedForward)) for m in model.modules())


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Yields every block once, shared ones too."""
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    return iter(dict.fromkeys(block for stack in stacks for block in stack.blocks))


def _chosen(path: str, part: TokenMixer | FeedForward, where: Where) -> bool:
    if isinstance(part, FeedForward):
        return where == "feedforward"
    # A macaron block has a convolution beside its mixer, which keeps its tokens.
    own = "context" not in part.supports and path.split(".")[0] == "mixer"
    return where == "mixer" and own


def _check(block: nn.Module, part: nn.Module, matching: Matching) -> None:
    name = type(part).__name__
    if isinstance(part, (MergedMixer, MergedFeedForward)):
        raise UserError("tokens are merged here already; call unmerge_model(model) first")
    if isinstance(part, TokenMixer) and "sizes" not in part.supports:
        raise UserError(
            f"{name} cannot take merged tokens: it does not support sizes; "
            "merge them for the feed-forward instead, where='feedforward'"
        )
    causal = [type(m).__name__ for m in block.modules() if isinstance(m, TokenMixer) and m.causal]
    if causal and not matching.causal:
        raise UserError(
            f"{causal[0]} is causal, and {type(matching).__name__} looks at the whole sequence before "
            "it merges; use Neighbours(threshold=...)"
        )
