"""What every detector is to those who train it and ask it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.vision.models.detections import Detections, SigmoidDetections
from headway.vision.models.with_classes import WithClasses


class ObjectDetector(WithClasses):
    """Answers for objects in pictures; verbs, exporters and recipes ask for it alone.

    Args:
        num_classes: Classes of objects.
        name: Of the architecture.

    Raises:
        UserError: If there is no class.

    Attributes:
        loss: The name of what it is trained with where nothing else is said, of ``tasks.LOSSES``.
        pretrained_cfg: How it wants its pictures: mean, std, shortest, longest; and what is known of its
            classes: label_names, category_ids.
    """

    loss: ClassVar[str] = "cross_entropy"

    @abstractmethod
    def forward(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> Detections | SigmoidDetections:
        """Returns logits and boxes of every query.

        Args:
            images: Pictures, padded on the right and at the bottom.
            sizes: Height and width of each in pixels; all as large as the batch if None.

        Shape:
            images: (B, channels, H, W). sizes: (B, 2).
        """

    def taught(
        self,
        images: Tensor,
        sizes: Tensor | Sequence[Sequence[int]] | None,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> Detections | SigmoidDetections:
        """Returns what it answers in training, where some may look at the objects.

        Args:
            images: As of a call.
            sizes: As of a call.
            boxes: Of the objects of each picture, (N, 4), centre and size in 0..1.
            labels: Their classes, (N,).
        """
        return self(images, sizes)

    @abstractmethod
    def get_classifier(self) -> tuple[nn.Module, ...]:
        """Returns the layers that compute logits and boxes."""

    def layer_depth(self, name: str) -> int:
        """Returns 0 for the backbone and 1 for the rest: ``layer_decay`` is the ratio of their rates."""
        return 0 if name.startswith("backbone.") else 1


def maps_of(backbone: nn.Module) -> list[dict[str, Any]]:
    """Returns what a backbone says of its maps: channels, reduction and module name.

    Raises:
        UserError: If it is no backbone.
    """
    info = getattr(backbone, "feature_info", None)
    if not info:
        raise UserError(
            f"{type(backbone).__name__} is no backbone: it has no feature_info; use ResNet, ResNetD, "
            "TimmFeatures, or Features of a ViT or Swin"
        )
    return list(info)
