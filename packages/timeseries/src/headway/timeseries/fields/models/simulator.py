"""The base of models that continue films of fields, and the simple ones that each must beat."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module


class Simulator(Module):
    """Continues films of fields on a grid, frame by frame.

    ``conditions`` is how many numbers that describe the equation it reads; with 0 it is given none.
    """

    conditions: int = 0

    @abstractmethod
    def next_frame(self, frames: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Returns the fields after the last frames.

        Args:
            frames: The film so far, at least as many frames as the model reads.
            conditions: Numbers that describe the equation.

        Shape:
            frames: (B, T, C, *grid). conditions: (B, K). Output: (B, C, *grid).
        """

    def rollout(self, frames: Tensor, steps: int, conditions: Tensor | None = None) -> Tensor:
        """Returns the frames that follow, each computed from those before it, its own included.

        Shape:
            Output: (B, steps, C, *grid).

        Raises:
            UserError: If no step is asked for.
        """
        if steps < 1:
            raise UserError(f"steps is {steps}; ask for at least 1 frame")
        reads = frames.shape[1]
        found = []
        for _ in range(steps):
            following = self.next_frame(frames[:, -reads:], conditions)
            found.append(following)
            frames = torch.cat([frames, following[:, None]], dim=1)
        return torch.stack(found, dim=1)


class Persistence(Simulator):
    """The last frame stays."""

    def next_frame(self, frames: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Returns the last frame."""
        return frames[:, -1]


class Stencil(Simulator):
    """The next frame is a linear map of the neighbourhood of each position, on a periodic grid.

    Args:
        fields: Fields of a frame.
        reads: Frames that it reads.
        radius: The neighbourhood reaches as many positions in each direction.

    Shape:
        frames: (B, T, fields, H, W).

    Raises:
        UserError: If a size is below 1, or the radius negative.
    """

    def __init__(self, *, fields: int = 1, reads: int = 1, radius: int = 2) -> None:
        super().__init__()
        if fields < 1 or reads < 1 or radius < 0:
            raise UserError(
                f"fields {fields} and reads {reads} must be at least 1, radius {radius} at least 0"
            )
        self.reads, self.radius = reads, radius
        self.weight = nn.Parameter(torch.zeros(fields, fields * reads, *[2 * radius + 1] * 2))
        with torch.no_grad():  # it begins as the frame that stays
            for field in range(fields):
                self.weight[field, fields * (reads - 1) + field, radius, radius] = 1.0

    def next_frame(self, frames: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Returns the next frame."""
        known = frames[:, -self.reads :].flatten(1, 2)
        return F.conv2d(F.pad(known, [self.radius] * 4, mode="circular"), self.weight)

    @torch.no_grad()
    def fit(self, films: Tensor, *, ridge: float = 1e-6) -> "Stencil":
        """Takes the weights that fit the films best, by least squares.

        Args:
            films: Trajectories.
            ridge: Penalty of the squared weights, as a share of the mean squared input.

        Shape:
            films: (M, T, fields, H, W).
        """
        size = self.weight[0].numel()
        gram = torch.zeros(size, size, dtype=torch.float64)
        cross = torch.zeros(size, len(self.weight), dtype=torch.float64)
        for film in films.double():
            windows = film.unfold(0, self.reads, 1)[:-1].movedim(-1, 1).flatten(1, 2)
            padded = F.pad(windows, [self.radius] * 4, mode="circular")
            rows = F.unfold(padded, 2 * self.radius + 1).transpose(1, 2).flatten(0, 1)
            gram += rows.T @ rows
            cross += rows.T @ film[self.reads :].flatten(2).transpose(1, 2).flatten(0, 1)
        penalty = ridge * gram.trace() / size * torch.eye(size, dtype=torch.float64)
        self.weight.copy_(torch.linalg.solve(gram + penalty, cross).T.reshape(self.weight.shape))
        return self
