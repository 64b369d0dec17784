"""Learns from the answers of a trained model besides the labels."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.data.preprocessing import Preprocessing


class Distillation:
    """A frozen teacher and how much it counts.

    The teacher is not part of the task's parameters and of no checkpoint. Where its ``pretrained_cfg``
    differs from the data, it sees the same pictures in its own size and normalisation.

    Args:
        teacher: A classifier of the same classes, or where to load one from (run folder, directory, hub
            id).
        kind: ``hard`` takes the teacher's decision as a label, ``soft`` its probabilities.
        alpha: Share of the teacher in the loss.
        temperature: Flattens the probabilities of ``soft``.

    Raises:
        UserError: If a value is outside its range.

    Source:
        Hinton et al. 2015, https://arxiv.org/abs/1503.02531; Touvron et al. 2021,
        https://arxiv.org/abs/2012.12877, eq. 2 and 3.

    Note:
        The divergence is averaged over the pictures, as in the papers; DeiT's code divides it by the
        number of classes too.
    """

    def __init__(
        self,
        *,
        teacher: nn.Module | str,
        kind: Literal["hard", "soft"] = "hard",
        alpha: float = 0.5,
        temperature: float = 1.0,
    ) -> None:
        if kind not in ("hard", "soft"):
            raise UserError(f"kind {kind!r} of distillation is neither hard nor soft")
        if not 0 <= alpha <= 1:
            raise UserError(f"alpha {alpha} is outside [0, 1]")
        if temperature <= 0:
            raise UserError(f"temperature {temperature} must be positive")
        self.kind = kind
        self.alpha = alpha
        self.temperature = temperature
        self.teacher = _loaded(teacher).eval().requires_grad_(False)
        self.data: Preprocessing | None = None

    def prepare(self, preprocessing: Mapping[str, Any], device: torch.device) -> None:
        """Moves the teacher to a device and learns how the data was normalised."""
        self.teacher.to(device).eval()
        self.data = Preprocessing.from_cfg(preprocessing) if preprocessing else None

    @torch.no_grad()
    def answers(self, images: Tensor) -> Tensor:
        """Returns the teacher's logits for pictures that were normalised for the student.

        Shape:
            images: (B, C, H, W). Output: (B, K).
        """
        cfg = getattr(self.teacher, "pretrained_cfg", None)
        if cfg and self.data is not None:
            images = _renormalized(images, self.data, Preprocessing.from_cfg(cfg))
        output = self.teacher(images)
        return output if isinstance(output, Tensor) else output.logits

    def loss(self, logits: Tensor, answers: Tensor) -> Tensor:
        """Returns how far the student is from the teacher.

        Shape:
            logits, answers: (B, K).
        """
        if self.kind == "hard":
            return F.cross_entropy(logits.float(), answers.argmax(dim=-1))
        student = F.log_softmax(logits.float() / self.temperature, dim=-1)
        teacher = F.log_softmax(answers.float() / self.temperature, dim=-1)
        # The gradient of the divergence shrinks with the square of the temperature.
        return (
            F.kl_div(student, teacher, reduction="batchmean", log_target=True) * self.temperature**2
        )

    def __call__(self, images: Tensor, logits: Tensor, label_loss: Tensor) -> Tensor:
        """Returns the loss of labels and teacher together.

        Args:
            images: What the student saw.
            logits: What the student's distillation head said, or its only head.
            label_loss: The loss against the labels.
        """
        answers = self.answers(images)
        if answers.shape != logits.shape:
            raise UserError(
                f"the teacher knows {answers.shape[-1]} classes and the student "
                f"{logits.shape[-1]}; take a teacher that was trained on the same classes"
            )
        return (1 - self.alpha) * label_loss + self.alpha * self.loss(logits, answers)


def _loaded(teacher: nn.Module | str) -> nn.Module:
    if isinstance(teacher, nn.Module):
        return teacher
    from headway.core.weights import from_pretrained  # pyright: ignore

    return from_pretrained(teacher)


def _renormalized(images: Tensor, data: Preprocessing, wanted: Preprocessing) -> Tensor:
    def constants(values: tuple[float, ...]) -> Tensor:
        return images.new_tensor(values).view(1, -1, 1, 1)

    if (data.mean, data.std) != (wanted.mean, wanted.std):
        pixels = images * constants(data.std) + constants(data.mean)
        images = (pixels - constants(wanted.mean)) / constants(wanted.std)
    size = wanted.input_size[1:]
    if tuple(images.shape[-2:]) != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    return images
