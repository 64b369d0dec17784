"""What every model that speaks is."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from headway.core.errors import UserError
from headway.core.language import Tokenizer
from headway.speech.front_ends import LogMel
from headway.speech.sound_model import Vocoder
from headway.speech.speech_model import SpokenTextModel


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a text is spoken.

    Args:
        speed: Above 1 it is spoken faster.
        pitch: Semitones by which the voice is raised.
        energy: By how many deviations the voice is louder.

    Raises:
        UserError: If the speed is not between a tenth and ten.
    """

    speed: float = 1.0
    pitch: float = 0.0
    energy: float = 0.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.speed <= 10:
            raise UserError(
                f"speed is {self.speed}; it lies between 0.1 and 10, and 1 is as learned"
            )


AS_LEARNED = Manner()


class Spoken(NamedTuple):
    """What a synthesiser returns.

    Args:
        features: Mel features as the front end makes them, (B, T, bands); zeros behind the end of each.
        lengths: Steps of each, (B,).
        durations: Steps of each token, (B, U); they sum to the lengths. None of a model that knows none.
    """

    features: Tensor
    lengths: Tensor
    durations: Tensor | None


class Synthesiser(SpokenTextModel):
    """Speaks texts: tasks and verbs ask for this and not for how it is done.

    ``loss`` takes recordings as samples.

    Args:
        tokenizer: What the tokens of the texts mean.
        front_end: Mel features.
        vocoder: What makes sound of its features where it brings one along.
    """

    aligns: bool = True
    """Whether it knows which steps belong to which token."""

    def __init__(
        self, *, tokenizer: Tokenizer, front_end: LogMel, vocoder: Vocoder | None = None
    ) -> None:
        super().__init__(tokenizer=tokenizer, front_end=front_end)
        self.vocoder = vocoder

    @property
    def mel(self) -> LogMel:
        """What its features are."""
        assert isinstance(self.front_end, LogMel)
        return self.front_end

    @abstractmethod
    def speak(self, tokens: Tensor, lengths: Tensor, *, manner: Manner = AS_LEARNED) -> Spoken:
        """Returns the features of texts.

        Args:
            tokens: Tokens of the texts.
            lengths: Tokens of each.
            manner: How they are spoken.

        Shape:
            tokens: (B, U). lengths: (B,).

        Raises:
            UserError: If the manner asks for what this synthesiser cannot do.
        """

    @abstractmethod
    def align(self, waveforms: Tensor, samples: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Returns how many steps of recordings each token of their texts owns, (B, U).

        Args:
            waveforms: Samples.
            samples: Samples of each.
            tokens: Tokens of the texts.
            lengths: Tokens of each.

        Shape:
            waveforms: (B, S). samples: (B,). tokens: (B, U). lengths: (B,).

        Raises:
            UserError: If this synthesiser does not know.
        """

    def needed(self, targets: Sequence[int]) -> int:
        """Returns one step for each token."""
        return max(1, len(targets))
