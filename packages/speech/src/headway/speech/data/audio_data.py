"""What all data modules of recordings with classes share."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import InputError, UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.speech.audio_batch import AudioItem, gather
from headway.speech.audio_classifier import AudioClassifier
from headway.speech.data.audio import read_audio, seconds_of
from headway.speech.data.batching import evenly
from headway.speech.data.perturbations import Perturbation, perturbed

log = logging.getLogger(__name__)
KEPT = 10_000_000  # samples of a set that stay in memory, 40 MB


class Sound(NamedTuple):
    """A recording and its class."""

    file: Path
    label: int


class AudioSet(Dataset[AudioItem | None]):
    """Recordings with classes; small sets stay in memory.

    Args:
        sounds: Which ones.
        on_invalid: ``skip`` gives None for a recording that breaks in spite of the check at the start.
        perturb: What is done to the samples, one after the other.
    """

    def __init__(
        self,
        sounds: Sequence[Sound],
        on_invalid: OnInvalid = "raise",
        perturb: Sequence[Perturbation] = (),
    ) -> None:
        self.sounds, self.on_invalid, self.perturb = list(sounds), on_invalid, tuple(perturb)
        self.sample_rate: int | None = None
        self._kept: dict[int, Tensor] = {}
        self._left = KEPT

    def __len__(self) -> int:
        return len(self.sounds)

    def use(self, sample_rate: int) -> None:
        """Says at which rate the recordings are heard."""
        if sample_rate != self.sample_rate:
            self.sample_rate, self._kept, self._left = sample_rate, {}, KEPT

    def waveform(self, index: int) -> Tensor:
        """Returns the samples of a recording as they were recorded.

        Raises:
            UserError: If no model hears it yet.
        """
        if self.sample_rate is None:
            raise UserError("no model hears these recordings yet; call use(model) of their data")
        if index in self._kept:
            return self._kept[index]
        found = read_audio(self.sounds[index].file, sample_rate=self.sample_rate)
        if len(found) <= self._left:
            self._left -= len(found)
            self._kept[index] = found
        return found

    def __getitem__(self, index: int) -> AudioItem | None:
        sound = self.sounds[index]
        try:
            waveform = self.waveform(index)
        except InputError as error:
            if self.on_invalid == "raise":
                raise
            log.warning("skipped %s", error)
            return None
        assert self.sample_rate is not None
        waveform = perturbed(waveform, self.sample_rate, self.perturb)
        return AudioItem(waveform, sound.label, str(sound.file))


class AudioData(DataModule):
    """Recordings with classes.

    Args:
        batch_size: Recordings of a batch.
        on_invalid: What happens to files that are no recording or broken; ``skip`` leaves them out and says
            which and how many.
        perturb: What is done to the samples of training recordings, one after the other, such as
            ``SpeedPerturbation`` and ``NoisePerturbation``.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.
    """

    classes: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        batch_size: int = 32,
        on_invalid: OnInvalid = "raise",
        perturb: Sequence[Perturbation] = (),
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        self.invalid = InvalidItems(on_invalid, "recordings")
        self.perturb = tuple(perturb)

    @abstractmethod
    def load(self) -> Mapping[str, Sequence[Sound]]:
        """Returns the recordings of ``train``, perhaps ``val`` and ``test``; sets ``classes``."""

    def setup(self, stage: str | None = None) -> None:
        """Finds the recordings, once, and looks at the header of each."""
        if self.train_set is not None:
            return
        total = 0
        for split, sounds in self.load().items():
            total += len(sounds)
            usable = [sound for sound in sounds if self._is_usable(sound)]
            if not usable:
                raise UserError(f"the {split} split has no recordings that can be used")
            perturb = self.perturb if split == "train" else ()
            setattr(self, f"{split}_set", AudioSet(usable, self.invalid.policy, perturb))
        self.predict_set = self.test_set or self.val_set
        self.invalid.log(total)

    def use(self, model: AudioClassifier) -> None:
        """Says which model hears the recordings: its sample rate is theirs."""
        self.setup()
        for data in (self.train_set, self.val_set, self.test_set):
            if isinstance(data, AudioSet):
                data.use(model.front_end.sample_rate)

    def recordings(self) -> Iterator[Tensor]:
        """Yields training recordings, evenly chosen, to measure mean and deviation on, after ``use``."""
        data = self.train_set
        assert isinstance(data, AudioSet)
        for index in evenly(len(data)):
            yield data.waveform(index)

    def preprocessing(self) -> dict[str, Any]:
        """Returns the names of the classes."""
        return {"classes": list(self.classes)}

    collate = staticmethod(gather)

    def _is_usable(self, sound: Sound) -> bool:
        try:
            seconds_of(sound.file)
        except InputError as error:
            self.invalid.add(error)
            return False
        return True
