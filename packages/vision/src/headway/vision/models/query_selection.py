"""Queries chosen among the tokens of the maps: those that look most like an object."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.vision.layers import BoxHead

# A box of this share of the picture is expected on the largest map, twice it on the next.
SIDE = 0.05
# Tokens whose expected box comes this near to an edge of the picture are no candidates.
MARGIN = 0.01


class Selected(NamedTuple):
    """What was chosen.

    Args:
        tokens: (B, Q, C).
        boxes: Their boxes before the sigmoid, (B, Q, 4).
        logits: Of each class, (B, Q, K).
    """

    tokens: Tensor
    boxes: Tensor
    logits: Tensor


class QuerySelection(Module):
    """Every token says which class is there and in which box; the most certain become queries.

    Args:
        dim: Channels of a token.
        classes: Classes of objects.
        queries: How many are chosen.
        norm: Builds the norm of the candidates, ``(dim)``.

    Shape:
        memory: (B, N, dim). Output: ``Selected``.

    Source:
        Zhu et al. 2021 (Deformable DETR), https://arxiv.org/abs/2010.04159, appendix A.4, as Zhao et al.
        2023 (RT-DETR), https://arxiv.org/abs/2304.08069, have it.
    """

    def __init__(
        self, dim: int, classes: int, queries: int, *, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.queries = queries
        self.projection = nn.Linear(dim, dim)
        self.norm = norm(dim)
        self.class_head = nn.Linear(dim, classes)
        self.box_head = BoxHead(dim)

    def forward(self, memory: Tensor, levels: Sequence[tuple[int, int]]) -> Selected:
        """Chooses.

        Args:
            memory: Tokens of all maps, one map after the other.
            levels: Rows and columns of each map.

        Raises:
            UserError: If there are fewer tokens than queries.
        """
        found = self.candidates(memory, levels)
        best = found.logits.max(-1).values.topk(self.queries, dim=1).indices[..., None]
        return Selected(*(one.gather(1, best.expand(-1, -1, one.shape[-1])) for one in found))

    def candidates(self, memory: Tensor, levels: Sequence[tuple[int, int]]) -> Selected:
        """Returns what every token says.

        Args:
            memory: As of a call.
            levels: As of a call.

        Raises:
            UserError: If there are fewer tokens than queries.
        """
        self.check(memory, levels)
        anchors, valid = expected_boxes(levels, memory.device)
        tokens = self.norm(self.projection(memory * valid.to(memory.dtype)))
        logits = self.class_head(tokens)
        boxes = self.box_head.logits(tokens).float() + anchors
        return Selected(tokens, boxes, logits)

    def check(self, memory: Tensor, levels: Sequence[tuple[int, int]]) -> None:
        """Refuses maps with fewer tokens than queries.

        Raises:
            UserError: It names both.
        """
        if isinstance(memory.shape[1], int) and memory.shape[1] < self.queries:
            raise UserError(
                f"maps {list(levels)} have {memory.shape[1]} tokens for {self.queries} queries; give larger "
                "pictures, or fewer queries"
            )


def expected_boxes(
    levels: Sequence[tuple[int, int]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Returns the box that is expected at each token, before the sigmoid, and whether it is a candidate.

    Shape:
        Output: (1, N, 4) and (1, N, 1).
    """
    boxes, valid = expected_shares(levels, device)
    # Others lie beyond any picture: their sigmoid is 1.
    return torch.where(valid, (boxes / (1 - boxes)).log(), torch.finfo(boxes.dtype).max), valid


def expected_shares(
    levels: Sequence[tuple[int, int]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Returns the box that is expected at each token, in 0..1, and whether it is a candidate.

    Shape:
        Output: (1, N, 4) and (1, N, 1).
    """
    parts = []
    for place, (rows, columns) in enumerate(levels):
        y = (torch.arange(rows, device=device) + 0.5) / rows
        x = (torch.arange(columns, device=device) + 0.5) / columns
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).flatten(0, 1)
        parts.append(torch.cat([grid, torch.full_like(grid, SIDE * 2**place)], dim=1))
    boxes = torch.cat(parts)
    valid = ((boxes > MARGIN) & (boxes < 1 - MARGIN)).all(dim=-1, keepdim=True)
    return boxes[None], valid[None]
