"""An encoder in which the tokens become fewer on the way."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from headway.core.errors import UserError
from headway.core.passed import Passed
from headway.core.resample import AdjacentMerging
from headway.core.stacks.encoder import Encoder, EncoderStackOptions
from headway.core.sublayer import Chain, Sublayer

FIFTH = partial(AdjacentMerging, ratio=0.2)


class MergingEncoder(Encoder):
    """An encoder that merges similar neighbours behind the mixer of some blocks.

    The feed-forward of these blocks and all later blocks see fewer tokens.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        merging: Builds what merges, ``()``.
        blocks: In which blocks it merges, counted from 1.
        **encoder: As of every ``Encoder``: mixer, feedforward, norm, block, final_norm, drop_path ...

    Shape:
        x: (B, N, dim). Output: (B, N', dim) and the layout, with ``sizes``.

    Raises:
        UserError: If there is no such block, or a block has no mixer of its own.

    Source:
        Li et al. 2023 (A-ToMe), https://arxiv.org/abs/2306.16009.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        merging: Callable[[], AdjacentMerging] = FIFTH,
        blocks: Sequence[int],
        **encoder: Passed[EncoderStackOptions],
    ) -> None:
        super().__init__(dim, depth, heads, **encoder)
        if not blocks or min(blocks) < 1 or max(blocks) > depth or len(set(blocks)) < len(blocks):
            raise UserError(
                f"tokens are merged in blocks {list(blocks)} of {depth}; name some once, from 1 on"
            )
        self.steps: tuple[AdjacentMerging, ...] = tuple(merging() for _ in blocks)
        for number, step in zip(sorted(blocks), self.steps, strict=True):
            block = self.blocks[number - 1]
            mixer = getattr(block, "mixer", None)
            if not isinstance(mixer, Sublayer):
                raise UserError(f"{type(block).__name__} has no mixer to merge tokens behind")
            block.mixer = Chain([mixer, step])

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many of so many tokens leave it at least, (B,)."""
        for step in self.steps:
            lengths = step.output_lengths(lengths)
        return lengths
