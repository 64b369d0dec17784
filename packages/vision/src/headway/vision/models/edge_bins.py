"""Edges of boxes as distributions over steps, and how sure a distribution is."""

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.vision.models.boxes import centred

# How many of the likeliest steps say how sure an edge is.
TOP, HIDDEN = 4, 64


class EdgeBins(Module):
    """Steps by which an edge may move, small ones near 0 and large ones far from it.

    Args:
        bins: Steps less one, even.
        reach: How far an edge moves with the last step but one, as a share of the box.
        curve: How much finer the small steps are.

    Source:
        Peng et al. 2024 (D-FINE), https://arxiv.org/abs/2410.13842, eq. 3.
    """

    reach: Tensor
    curve: Tensor

    def __init__(self, *, bins: int = 32, reach: float = 0.5, curve: float = 4.0) -> None:
        super().__init__()
        if bins < 4 or bins % 2 or reach <= 0 or curve <= 0:
            raise UserError(
                f"bins {bins} must be even and at least 4, reach {reach} and curve {curve} positive"
            )
        self.bins = bins
        self.register_buffer("reach", torch.tensor([reach]))
        self.register_buffer("curve", torch.tensor([curve]))

    def steps(self) -> Tensor:
        """Returns the steps, (bins + 1,)."""
        bound = self.reach.abs() * self.curve.abs()
        base = (bound + 1) ** (2 / (self.bins - 2))
        powers = torch.arange(1, self.bins // 2, device=bound.device)
        right = base**powers - 1
        return torch.cat([-2 * bound, -right.flip(0), torch.zeros_like(bound), right, 2 * bound])

    def boxes(self, logits: Tensor, first: Tensor) -> Tensor:
        """Returns the boxes that distributions of edges mean.

        Args:
            logits: Of the steps of the left, upper, right and lower edge, (..., 4 * (bins + 1)).
            first: The boxes from which the edges step, centre and size, (..., 4).
        """
        shares = logits.float().unflatten(-1, (4, -1)).softmax(-1)
        moved = (shares * self.steps()).sum(-1)
        centre, size = first.chunk(2, dim=-1)
        near, far = (0.5 * self.curve + moved).chunk(2, dim=-1)
        size = size / self.curve
        return centred(torch.cat([centre - near * size, centre + far * size], dim=-1))

    def targets(self, first: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Returns between which steps edges should have moved.

        Args:
            first: Boxes from which the edges step, centre and size.
            wanted: Boxes as left, top, right and bottom.

        Shape:
            first, wanted: (N, 4). Output: the step before and the share of the one behind it, (N, 4) each.
        """
        centre, size = first.chunk(2, dim=-1)
        size = size / self.curve + 1e-16
        near, far = wanted.chunk(2, dim=-1)
        moved = torch.cat([(centre - near) / size, (far - centre) / size], -1) - 0.5 * self.curve
        steps = self.steps()
        before = ((steps <= moved[..., None]).sum(-1) - 1).clamp(0, self.bins - 1)
        width = steps[before + 1] - steps[before]
        return before, ((moved - steps[before]) / width).clamp(0, 1)


class EdgeQuality(Module):
    """Adds to the logits of a query what the sharpness of its edges says of them.

    Source:
        Peng et al. 2024 (D-FINE), https://arxiv.org/abs/2410.13842, and its code (LQE), after Li et al. 2021
        (GFLv2), https://arxiv.org/abs/2011.12885.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4 * (TOP + 1), HIDDEN), nn.Linear(HIDDEN, 1)])
        for parameter in self.layers[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, logits: Tensor, edges: Tensor) -> Tensor:
        """Adds the quality.

        Shape:
            logits: (B, Q, K). edges: (B, Q, 4 * (bins + 1)).
        """
        best = edges.unflatten(-1, (4, -1)).softmax(-1).topk(TOP, dim=-1).values
        told = torch.cat([best, best.mean(-1, keepdim=True)], dim=-1).flatten(-2)
        first, last = self.layers
        return logits + last(first(told.to(logits.dtype)).relu())
