"""Strings of spoken digits, put together from recordings of single ones."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.core.training.randomness import mix
from headway.speech.data.audio import read_audio, seconds_of
from headway.speech.data.digit_recordings import NAMES, digit_splits
from headway.speech.data.speech_data import SpeechData, SpeechOptions
from headway.speech.data.speech_set import Recording, SpeechSet

# Silence between two digits and at both ends, in seconds, and its noise, in decibels of full scale.
GAP, EDGE, NOISE = (0.05, 0.3), (0.1, 0.3), (-66.0, -54.0)

# Of every speaker the recordings of every digit.
Speakers = dict[str, dict[int, list[Path]]]


class DigitStringSet(SpeechSet):
    """Strings drawn from the recordings of one speaker each.

    Args:
        speakers: The recordings.
        strings: Number of strings.
        digits: Least and largest number of digits; every number occurs as often.
        seed: Makes the strings a function of seed and index; with None they are drawn from torch's
            generator, anew in every epoch.
        answered_by: Speaker who says every string in turn; nobody if None.
    """

    def __init__(
        self,
        speakers: Speakers,
        strings: int,
        digits: tuple[int, int],
        seed: int | None,
        answered_by: str | None = None,
    ) -> None:
        self.speakers, self.digits, self.seed = speakers, digits, seed
        self.answered_by = answered_by
        files = [file for digit in speakers.values() for part in digit.values() for file in part]
        mean = sum(map(seconds_of, files)) / len(files) + sum(GAP) / 2
        self.seconds = [self._count(index) * mean + sum(EDGE) / 2 for index in range(strings)]
        self._samples: dict[tuple[Path, int], Tensor] = {}

    def _count(self, index: int) -> int:
        least, largest = self.digits
        return least + index % (largest - least + 1)

    def texts(self) -> Sequence[str]:
        """Returns the digits."""
        return [" ".join(NAMES)]

    def recording(self, index: int, sample_rate: int) -> Recording:
        """Draws and joins the digits of one string."""
        seed = int(torch.randint(2**62, ())) if self.seed is None else mix(self.seed, index)
        random = torch.Generator().manual_seed(seed)

        def draw(number: int) -> int:
            return int(torch.randint(number, (), generator=random))

        def between(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=random))

        level = 10 ** (between(*NOISE) / 20)

        def silence(seconds: tuple[float, float]) -> Tensor:
            samples = round(between(*seconds) * sample_rate)
            return level * torch.randn(samples, generator=random)

        names = sorted(self.speakers)
        name = names[draw(len(names))]
        speaker = self.speakers[name]
        spoken = sorted(speaker)
        parts, said = [silence(EDGE)], []
        for place in range(self._count(index)):
            digit = spoken[draw(len(spoken))]
            file = speaker[digit][draw(len(speaker[digit]))]
            parts += [silence(GAP)] * (place > 0) + [self._read(file, sample_rate)]
            said.append(digit)
        parts.append(silence(EDGE))
        text = " ".join(NAMES[digit] for digit in said)
        answer = None
        if self.answered_by is not None:
            own, pieces = self.speakers[self.answered_by], [silence(EDGE)]
            for digit in said:
                file = own[digit][draw(len(own[digit]))]
                pieces += [self._read(file, sample_rate), silence(GAP)]
            answer = torch.cat(pieces)
        return Recording(torch.cat(parts), text, f"string {index}", name, answer=answer)

    def _read(self, file: Path, sample_rate: int) -> Tensor:
        if (file, sample_rate) not in self._samples:
            self._samples[file, sample_rate] = read_audio(file, sample_rate=sample_rate)
        return self._samples[file, sample_rate]


class DigitStrings(SpeechData):
    """Strings of digits, each from the recordings of one speaker with random silences between them.

    For the Free Spoken Digit Dataset, split as ``digit_splits`` does. Training strings are drawn anew in
    every epoch, those of validation and test are a function of ``string_seed``.

    Args:
        path: Folder of recordings.
        held_out: Speakers that are in the test part alone.
        strings: Training strings of an epoch.
        val_strings: Validation strings.
        test_strings: Test strings.
        digits: Least and largest number of digits of a string.
        string_seed: Of the validation and test strings.
        answered_by: Speaker who says every string in turn, for models that answer in speech; nobody if None.
        **speech: As of every ``SpeechData``: batch_seconds, batch_size, on_invalid, perturb,
            quadratic_seconds, and of every ``DataModule``.

    Source:
        Jackson et al., Free Spoken Digit Dataset, https://github.com/Jakobovski/free-spoken-digit-dataset.
    """

    def __init__(
        self,
        *,
        path: str,
        held_out: Sequence[str] = (),
        strings: int = 2000,
        val_strings: int = 200,
        test_strings: int = 300,
        digits: tuple[int, int] = (3, 7),
        string_seed: int = 0,
        answered_by: str | None = None,
        **speech: Passed[SpeechOptions],
    ) -> None:
        super().__init__(**speech)
        if min(strings, val_strings, test_strings) < 1:
            raise UserError(
                f"strings {strings}, val_strings {val_strings} and test_strings {test_strings} must "
                "be at least 1"
            )
        if not 1 <= digits[0] <= digits[1]:
            raise UserError(f"digits {digits} are not a least and a largest number")
        self.path, self.held_out = path, tuple(held_out)
        self.sizes = {"train": strings, "val": val_strings, "test": test_strings}
        self.digits = digits
        self.string_seed, self.answered_by = string_seed, answered_by

    def load(self) -> dict[str, SpeechSet]:
        """Sorts the recordings into the splits."""
        splits: dict[str, Speakers] = {split: {} for split in self.sizes}
        for split, recordings in digit_splits(self.path, self.held_out).items():
            for digit, speaker, file in recordings:
                splits[split].setdefault(speaker, defaultdict(list))[digit].append(file)
        self._check_answers(splits)
        return {
            split: DigitStringSet(
                speakers,
                self.sizes[split],
                self.digits,
                None if split == "train" else mix(self.string_seed, split),
                self.answered_by,
            )
            for split, speakers in splits.items()
        }

    def _check_answers(self, splits: dict[str, Speakers]) -> None:
        """Raises if the speaker who answers lacks a digit in a split."""
        name = self.answered_by
        for split, speakers in splits.items():
            digits = {digit for speaker in speakers.values() for digit in speaker}
            if name is not None and not digits <= speakers.get(name, {}).keys():
                raise UserError(
                    f"answered_by is {name!r}, of whom {self.path} lacks digits for the {split} split; there "
                    f"are {', '.join(sorted(speakers))}"
                )
