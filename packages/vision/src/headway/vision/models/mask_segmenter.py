"""What every mask classifier is to those who train it and ask it."""

from abc import abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.vision.models import masks
from headway.vision.models.masks import Instances, Masks, Panoptic
from headway.vision.models.segmenter import Segmenter


class MaskSegmenter(Segmenter):
    """Gives pictures masks with a class each: of classes, of objects, or of both in one map.

    Which of them its masks are is a matter of what it was trained with.

    Args:
        num_classes: Classes of masks.
        name: Of the architecture.

    Attributes:
        loss: The name of what it is trained with where nothing else is said, of ``tasks.MASK_LOSSES``.
        class_head: The layer of the logits, with one column more, for no object.
    """

    loss: ClassVar[str] = "points"
    class_head: nn.Linear

    @abstractmethod
    def forward(self, images: Tensor) -> Masks:
        """Returns class and mask of every query.

        Shape:
            images: (B, channels, H, W).
        """

    def prepare_step(self, progress: float) -> None:
        """Tells a model before each step how much of its training is over, 0 to 1; most do not care."""

    def semantic(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Returns the score of each class for each pixel; the largest is its class."""
        return masks.semantic(self(images), _sides(images, size))

    def instances(
        self, images: Tensor, size: tuple[int, int] | None = None, *, threshold: float = 0.5
    ) -> list[Instances]:
        """Returns the objects of each picture, the surest first.

        Args:
            images: Pictures of one height and width.
            size: Height and width of the masks; those of the pictures if None.
            threshold: What scores less is left out.
        """
        return masks.instances(self(images), _sides(images, size), threshold=threshold)

    def panoptic(
        self,
        images: Tensor,
        size: tuple[int, int] | None = None,
        *,
        threshold: float = 0.5,
        overlap: float = 0.8,
        stuff: Collection[int] = (),
    ) -> list[Panoptic]:
        """Returns one map of segments of each picture.

        Args:
            images: Pictures of one height and width.
            size: Height and width of the maps; those of the pictures if None.
            threshold: Queries whose class is less likely are left out.
            overlap: The share of its mask that a segment keeps at least.
            stuff: Classes without instances: their masks are one segment.
        """
        options: dict[str, Any] = {"threshold": threshold, "overlap": overlap, "stuff": stuff}
        return masks.panoptic(self(images), _sides(images, size), **options)

    def get_classifier(self) -> nn.Linear:
        """Returns the layer of the logits."""
        return self.class_head

    def new_classifier(self, num_classes: int) -> None:
        """Replaces the layer of the logits by a new one."""
        old = self.class_head
        self.class_head = nn.Linear(old.in_features, num_classes + 1).to(old.weight)

    def layer_depth(self, name: str) -> int:
        """Returns 0 for the backbone and 1 for the rest: ``layer_decay`` is the ratio of their rates."""
        return 0 if name.startswith("backbone.") else 1


def _sides(images: Tensor, size: tuple[int, int] | None) -> tuple[int, int]:
    return (images.shape[2], images.shape[3]) if size is None else size
