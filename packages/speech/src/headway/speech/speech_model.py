"""What every model of speech is."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.language import Tokenizer
from headway.core.module import Module
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import FrontEnd


class SpeechModel(Module):
    """Owns what its recordings go through; data modules and tasks ask for no more than this.

    Args:
        front_end: What samples become.
    """

    front_end: FrontEnd

    def __init__(self, *, front_end: FrontEnd) -> None:
        super().__init__()
        # What follows from a default is written down, too.
        self.front_end = self.init_args["front_end"] = front_end

    @property
    def complete(self) -> bool:
        """Whether all that is measured on recordings before training is known."""
        return self.front_end.complete

    def measure(self, recordings: Iterable[Tensor]) -> None:
        """Measures on training recordings what is not learned.

        Args:
            recordings: Samples at the rate of the front end, each (S,).
        """
        self.front_end.measure(recordings)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens of speech items of so many steps of the front end are, (B,)."""
        return lengths

    def token_counts(self, samples: Tensor) -> Tensor:
        """Returns how many tokens of speech recordings of so many samples are, (B,)."""
        steps = self.front_end.output_lengths(samples)
        return self.output_lengths(steps).clamp_min(0).masked_fill(steps < 1, 0)

    def tokens_of(self, samples: int) -> int:
        """Returns how many tokens of speech a recording of so many samples is."""
        return int(self.token_counts(torch.tensor([samples])))

    @abstractmethod
    def loss(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Returns what training minimises, as ``loss``, and its parts by name.

        Args:
            batch: Recordings, and the tokens of their texts for a model that reads.
        """


class SpokenTextModel(SpeechModel):
    """Owns what its texts are cut into, too.

    Args:
        tokenizer: What the tokens of the texts mean.
        front_end: What samples become.
    """

    def __init__(self, *, tokenizer: Tokenizer, front_end: FrontEnd) -> None:
        super().__init__(front_end=front_end)
        self.take_tokenizer(tokenizer)

    def take_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Cuts texts by another tokenizer from now on; what was learned of tokens stays where it is."""
        self.tokenizer = self.init_args["tokenizer"] = tokenizer

    def needed(self, targets: Sequence[int]) -> int:
        """Returns how many tokens of speech a text needs at least to be learned."""
        return 1

    @abstractmethod
    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them.

        Args:
            vocabulary: The new tokens; the special ones stay at their numbers.
        """


def check_hears(bands: int | None, front_end: FrontEnd) -> None:
    """Raises if a front end gives what an encoder does not hear.

    Args:
        bands: Features of a step that the encoder hears; None for samples.
        front_end: The front end.

    Raises:
        UserError: It names both.
    """
    if bands != front_end.bands:
        raise UserError(
            f"the front end gives {_kind(front_end.bands)} and the encoder hears {_kind(bands)}; "
            "make them the same"
        )


def _kind(bands: int | None) -> str:
    return "samples" if bands is None else f"{bands} bands"
