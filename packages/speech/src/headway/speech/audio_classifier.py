"""What every model that tells classes of recordings is."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module
from headway.speech.front_ends import FrontEnd


class AudioClassifier(Module):
    """Hears recordings and says to which class they belong.

    Args:
        classes: Their names, each once.
        front_end: What turns samples into features.

    Raises:
        UserError: If a class is named twice.
    """

    classes: tuple[str, ...]

    def __init__(self, *, classes: Sequence[str], front_end: FrontEnd) -> None:
        super().__init__()
        self.classes = checked_classes(classes)
        self.front_end = self.init_args["front_end"] = front_end

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device

    def tokens_of(self, samples: int) -> int:
        """Returns how many steps of the front end a recording of so many samples gives."""
        return int(self.front_end.output_lengths(torch.tensor([samples])))

    @abstractmethod
    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits of the classes.

        Args:
            inputs: What the front end gave.
            lengths: Steps of each item; all of them if None.

        Shape:
            inputs: (B, T, bands). lengths: (B,). Output: (B, classes).
        """

    def hear(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns the probabilities of the classes, (B, classes).

        Args:
            waveforms: Samples at the rate of the front end, (B, S).
            lengths: Samples of each; all of them if None.
        """
        return self(*self.front_end(waveforms, lengths)).softmax(dim=-1)

    @abstractmethod
    def set_classes(self, classes: Sequence[str]) -> None:
        """Takes other classes, about which nothing is known yet.

        Args:
            classes: Their names.
        """


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of classes.

    Raises:
        UserError: If one is named twice, or they are one text.
    """
    if isinstance(classes, str) or len(set(classes)) < len(classes):
        raise UserError(f"classes is {classes!r:.80}; name each once")
    return tuple(classes)
