"""The face of every detector."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from headway.core.module import Module
from headway.vision.models.detections import Detections


class ObjectDetector(Module):
    """A model that answers for objects in pictures; verbs, exporters and recipes ask for it alone.

    Attributes:
        num_classes: Classes, without one for no object.
        pretrained_cfg: How it wants its pictures: mean, std, shortest, longest; and what is known of its
            classes: label_names, category_ids.
    """

    num_classes: int
    pretrained_cfg: dict[str, Any]

    @abstractmethod
    def forward(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> Detections:
        """Returns what each query found.

        Args:
            images: Filled up on the right and at the bottom.
            sizes: Height and width of each picture; None where all of them fill the batch.

        Shape:
            images: (B, channels, H, W). sizes: (B, 2).
        """

    @abstractmethod
    def get_classifier(self) -> tuple[nn.Module, ...]:
        """Returns the layers that compute logits and boxes."""

    @abstractmethod
    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the layers of the logits by new ones; boxes are found as before."""
