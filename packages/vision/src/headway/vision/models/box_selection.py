"""Queries chosen among tokens whose boxes are shares of the picture, moved in steps of their own size."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from headway.vision.models.query_selection import QuerySelection, expected_shares


class Chosen(NamedTuple):
    """What was chosen.

    Args:
        logits: Of each class, (B, Q, K).
        boxes: In 0..1, (B, Q, 4).
    """

    logits: Tensor
    boxes: Tensor


class BoxSelection(QuerySelection):
    """Every token says which class is there and by how much its expected box is moved and scaled.

    Args:
        dim: Channels of a token.
        classes: Classes of objects.
        queries: How many are chosen.
        norm: Builds the norm of the candidates, ``(dim)``.

    Shape:
        memory: (B, N, dim). Output: ``Chosen``.

    Source:
        Chen et al. 2024 (LW-DETR), https://arxiv.org/abs/2406.03459, and its code.
    """

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, memory: Tensor, levels: Sequence[tuple[int, int]]
    ) -> Chosen:
        """Chooses.

        Args:
            memory: Tokens of all maps, one map after the other.
            levels: Rows and columns of each map.

        Raises:
            UserError: If there are fewer tokens than queries.
        """
        self.check(memory, levels)
        expected, valid = expected_shares(levels, memory.device)
        tokens = self.norm(self.projection(memory * valid.to(memory.dtype)))
        logits = self.class_head(tokens)
        boxes = moved(expected * valid, self.box_head.logits(tokens).float())
        score = logits.max(-1).values.masked_fill(~valid[..., 0], -torch.inf)
        best = score.topk(self.queries, dim=1).indices[..., None]
        return Chosen(*(x.gather(1, best.expand(-1, -1, x.shape[-1])) for x in (logits, boxes)))


def moved(boxes: Tensor, steps: Tensor) -> Tensor:
    """Returns boxes whose centre moved by shares of their size, and whose size grew by a power of e.

    Shape:
        boxes, steps: (..., 4). Output: the same.
    """
    centre, size = boxes.chunk(2, dim=-1)
    way, growth = steps.chunk(2, dim=-1)
    return torch.cat([centre + way * size, size * growth.exp()], dim=-1)
