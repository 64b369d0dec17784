"""A student that says what its teacher says of what the student does not see."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module


class Prototypes(Module):
    """Says how much a token resembles each of many directions that are learned.

    Args:
        dim: Channels of a token.
        number: Directions.
        hidden: Channels of the layers in between.
        width: Channels of the directions.

    Shape:
        x: (..., dim). Output: (..., number), from -1 to 1.

    Source:
        Caron et al. 2021 (DINO), https://arxiv.org/abs/2104.14294, appendix C.
    """

    def __init__(self, dim: int, number: int, *, hidden: int = 2048, width: int = 256) -> None:
        super().__init__()
        if min(number, hidden, width) < 1:
            raise UserError(
                f"number {number}, hidden {hidden} and width {width} must be at least 1"
            )
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, width),
        )
        self.directions = nn.Parameter(torch.randn(number, width))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the cosines."""
        return F.normalize(self.layers(x), dim=-1) @ F.normalize(self.directions, dim=-1).T


class SelfDistillation(Module):
    """The cross-entropy of a student with a teacher whose answers are centred and sharpened.

    Without a centre one answer would do for everything; without sharpening all answers at once would.

    Args:
        number: Answers.
        temperature: Of the teacher.
        student_temperature: Of the student.
        memory: How much of the centre stays at each batch.

    Shape:
        student, teacher: (..., number). Output: scalar.

    Source:
        Caron et al. 2021 (DINO), https://arxiv.org/abs/2104.14294, section 3.1.
    """

    centre: Tensor

    def __init__(
        self,
        number: int,
        *,
        temperature: float = 0.04,
        student_temperature: float = 0.1,
        memory: float = 0.9,
    ) -> None:
        super().__init__()
        if min(temperature, student_temperature) <= 0 or not 0 <= memory < 1:
            raise UserError(
                f"temperatures {temperature} and {student_temperature} must be positive, memory {memory} in "
                "0 to 1"
            )
        self.temperature, self.student_temperature = temperature, student_temperature
        self.memory = memory
        self.register_buffer("centre", torch.zeros(number))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compares the answers; in training the centre moves behind it."""
        wanted = ((teacher.detach().float() - self.centre) / self.temperature).softmax(dim=-1)
        said = (student.float() / self.student_temperature).log_softmax(dim=-1)
        loss = -(wanted * said).sum(dim=-1).mean()
        if self.training:
            mean = teacher.detach().float().flatten(0, -2).mean(dim=0)
            self.centre.lerp_(mean, 1 - self.memory)
        return loss
