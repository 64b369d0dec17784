"""Recordings with texts as a dataset."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import InputError
from headway.core.training.invalid import OnInvalid
from headway.speech.data.batching import SpeechItem
from headway.speech.data.front_end import FrontEnd
from headway.speech.data.spec_augment import SpecAugment
from headway.speech.data.tokenizer import Tokenizer

log = logging.getLogger(__name__)


class SpeechSet(Dataset[Any]):
    """Recordings with texts; ``prepare`` says how they become the input of a model.

    A subclass implements ``recording`` and ``texts`` and fills ``seconds``.

    Attributes:
        seconds: Length of each recording, exact or estimated.
    """

    seconds: Sequence[float]
    on_invalid: OnInvalid = "raise"

    @abstractmethod
    def recording(self, index: int, sample_rate: int) -> tuple[Tensor, str]:
        """Returns the samples (samples,) and the text of an item; may draw from torch's generator."""

    @abstractmethod
    def texts(self) -> Sequence[str]:
        """Returns texts that hold everything that is said."""

    def __len__(self) -> int:
        return len(self.seconds)

    def prepare(
        self,
        front_end: FrontEnd,
        tokenizer: Tokenizer,
        augment: Callable[[Tensor], Tensor] | SpecAugment | None = None,
    ) -> None:
        """Says what the recordings and texts go through.

        Args:
            front_end: From samples to the model's input.
            tokenizer: From texts to entries.
            augment: The random part of training.
        """
        self.front_end, self.tokenizer, self.augment = front_end, tokenizer, augment

    def __getitem__(self, index: int) -> SpeechItem | None:
        try:
            waveform, text = self.recording(index, self.front_end.sample_rate)
            inputs = self.front_end(waveform)
        except InputError as error:
            if self.on_invalid == "raise":
                raise
            log.warning("skipped %s", error)
            return None
        if self.augment is not None:
            inputs = self.augment(inputs)
        return SpeechItem(inputs, torch.tensor(self.tokenizer.encode(text)))
