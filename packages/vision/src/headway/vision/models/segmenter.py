"""What everything is to those who ask it that gives each pixel of a picture a class."""

from abc import abstractmethod

from torch import Tensor

from headway.vision.models.with_classes import WithClasses


class Segmenter(WithClasses):
    """Answers for the pixels of pictures; verbs, exporters and recipes ask for it alone.

    One that answers more (the instances of a class, one map of things and stuff) is a subclass with more
    methods; whoever wants classes of pixels asks each for ``semantic``.

    Args:
        num_classes: Classes of a pixel.
        name: Of the architecture.

    Raises:
        UserError: If there is no class.

    Attributes:
        least: Pixels that a side of a picture has at least; whoever asks enlarges shorter ones.
    """

    least: int = 32

    @abstractmethod
    def semantic(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Returns how likely each pixel is each class, 0 or more; the largest is its class.

        Scores of several views of a picture may be averaged. They add up to 1 where a model makes them so.

        Args:
            images: Pictures of one height and width, any from ``least`` on.
            size: Height and width of the answer in pixels; those of the pictures if None.

        Shape:
            images: (B, channels, H, W). Output: (B, num_classes, H, W), or of ``size``, float32.
        """
