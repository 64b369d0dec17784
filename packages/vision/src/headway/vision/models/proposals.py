"""Objects that tokens propose before there are queries, without a class."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from headway.core.positions.sinusoidal import sinusoids
from headway.vision.models.query_selection import QuerySelection, Selected


class Proposed(NamedTuple):
    """What was proposed, and the queries that come of it.

    Args:
        tokens: (B, Q, C).
        embedding: What attention adds to them, (B, Q, C).
        boxes: Where they begin, in 0..1, (B, Q, 4).
        every: What every token says.
    """

    tokens: Tensor
    embedding: Tensor
    boxes: Tensor
    every: Selected


class ProposalSelection(QuerySelection):
    """Every token says whether an object is there and in which box; queries are made of the boxes alone.

    The first class stands for an object of any class.

    Args:
        dim: Channels of a token.
        classes: Classes of objects.
        queries: How many are chosen.
        norm: Builds the norms, ``(dim)``.

    Shape:
        memory: (B, N, dim). Output: ``Proposed``.

    Source:
        Zhu et al. 2021 (Deformable DETR), https://arxiv.org/abs/2010.04159, appendix A.4.
    """

    def __init__(
        self, dim: int, classes: int, queries: int, *, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__(dim, classes, queries, norm=norm)
        self.dim = dim
        self.query = nn.Linear(2 * dim, 2 * dim)
        self.query_norm = norm(2 * dim)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, memory: Tensor, levels: Sequence[tuple[int, int]]
    ) -> Proposed:
        """Proposes.

        Args:
            memory: Tokens of all maps, one map after the other.
            levels: Rows and columns of each map.

        Raises:
            UserError: If there are fewer tokens than queries.
        """
        every = self.candidates(memory, levels)
        best = every.logits[..., 0].topk(self.queries, dim=1).indices[..., None]
        boxes = every.boxes.gather(1, best.expand(-1, -1, 4)).detach().sigmoid()
        waves = sinusoids(boxes * (2 * math.pi), 2 * self.dim)
        embedding, tokens = self.query_norm(self.query(waves.to(memory.dtype))).chunk(2, dim=-1)
        return Proposed(tokens, embedding, boxes, every)
