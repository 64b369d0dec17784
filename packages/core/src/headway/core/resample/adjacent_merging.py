"""Merging of similar neighbours in a sequence."""

from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.resample.base import Resampler
from headway.core.resample.matching import Adjacent, join
from headway.core.systems import system


@system(
    id=406,
    name="A-ToMe",
    paper="https://arxiv.org/abs/2306.16009",
    claim="similar neighbours of a sequence become one; order and times stay, and so does what is heard",
    test="packages/speech/tests/models/test_merged_tokens.py",
)
class AdjacentMerging(Resampler):
    """Merges similar neighbours of a sequence to means weighted by what they stand for: A-ToMe.

    The order stays; ``layout.sizes`` says how many of the first tokens each one stands for, so that times can
    be told. Padding never merges.

    Args:
        ratio: The share of the tokens behind the prefix to remove, at most 0.5.
        threshold: The least cosine of the angle between neighbours that become one, instead.

    Shape:
        x: (B, N, C). Output: (B, N', C) and its layout.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2306.16009, from its abstract and summaries: merging stands
        between attention and feed-forward, by a ratio or a threshold. Similarity is that of the tokens, in
        the paper that of their keys; which neighbour a token goes to is our choice (``Adjacent``).
    """

    def __init__(self, *, ratio: float | None = None, threshold: float | None = None) -> None:
        super().__init__()
        self.matching = Adjacent(ratio=ratio, threshold=threshold)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many of so many tokens stay at least, (B,)."""
        return lengths - self.matching.most_of(lengths)

    def resample(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Merges similar neighbours.

        Raises:
            UserError: If the tokens are no sequence.
        """
        if layout.grid is not None and len(layout.grid) > 1:
            raise UserError("AdjacentMerging needs the tokens of a sequence; use TokenMerging")
        groups = self.matching(x, layout)
        return (x, layout) if groups is None else join(x, layout, groups)
