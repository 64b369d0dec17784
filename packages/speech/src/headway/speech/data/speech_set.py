"""Recordings with texts as a dataset."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import OnInvalid
from headway.speech.batch import SpeechItem
from headway.speech.data.perturbations import Perturbation, perturbed
from headway.speech.speech_model import SpeechModel, SpokenTextModel
from headway.speech.tokenizers import text_tokens

log = logging.getLogger(__name__)


class Recording(NamedTuple):
    """What is known of one recording.

    Args:
        waveform: Samples, (S,).
        text: What is said.
        name: The recording, for people.
        speaker: Who speaks; empty where nobody says.
        language: What is spoken; empty where nobody says.
    """

    waveform: Tensor
    text: str
    name: str = ""
    speaker: str = ""
    language: str = ""


class SpeechSet(Dataset[Any]):
    """Recordings with texts; ``use`` says which model they are for.

    A subclass implements ``recording`` and ``texts`` and fills ``seconds``.

    Attributes:
        seconds: Length of each recording, exact or estimated.
    """

    seconds: Sequence[float]
    on_invalid: OnInvalid = "raise"
    perturb: Sequence[Perturbation] = ()
    """What is done to the samples, one after the other."""

    @abstractmethod
    def recording(self, index: int, sample_rate: int) -> Recording:
        """Returns an item at a sample rate; may draw from torch's generator."""

    @abstractmethod
    def texts(self) -> Sequence[str]:
        """Returns texts that hold everything that is said."""

    def __len__(self) -> int:
        return len(self.seconds)

    def use(self, model: SpeechModel) -> None:
        """Says which model hears the recordings: its sample rate and its tokens are theirs."""
        self.sample_rate = model.front_end.sample_rate
        self.tokenizer = model.tokenizer if isinstance(model, SpokenTextModel) else None

    def __getitem__(self, index: int) -> SpeechItem | None:
        if not hasattr(self, "tokenizer"):
            raise UserError("no model hears these recordings yet; call use(model) of their data")
        try:
            found = self.recording(index, self.sample_rate)
            waveform = perturbed(found.waveform, self.sample_rate, self.perturb)
            tokens = text_tokens(self.tokenizer, found.text, found.name) if self.tokenizer else []
        except InputError as error:
            if self.on_invalid == "raise":
                raise
            log.warning("skipped %s", error)
            return None
        return SpeechItem(
            waveform,
            torch.tensor(tokens, dtype=torch.int64),
            found.name,
            found.speaker,
            found.language,
        )
