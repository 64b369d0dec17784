"""Single digits of the Free Spoken Digit Dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.speech.data.audio_data import AudioData, Sound
from headway.speech.data.audio_folder import AudioOptions
from headway.speech.data.digit_strings import NAMES, digit_recordings


class SpokenDigits(AudioData):
    """Which digit a recording of the Free Spoken Digit Dataset is.

    ``path`` holds ``{digit}_{speaker}_{index}.wav``. Recordings 0 to 4 of each digit and speaker test, as the
    data set has it; 5 to 9 validate, the others train. Speakers who are held out test with all of their
    recordings, and nobody else does.

    Args:
        path: Folder of recordings.
        held_out: Speakers that are in the test part alone.
        digits: Which digits there are.
        **audio: As of every ``AudioData``: batch_size, on_invalid, and of every ``DataModule``.

    Raises:
        UserError: If a speaker is held out who is not there, or digits are none, or some twice.

    Source:
        Jackson et al., Free Spoken Digit Dataset, https://github.com/Jakobovski/free-spoken-digit-dataset.
    """

    def __init__(
        self,
        *,
        path: str,
        held_out: Sequence[str] = (),
        digits: Sequence[int] = tuple(range(10)),
        **audio: Passed[AudioOptions],
    ) -> None:
        super().__init__(**audio)
        self.digits = tuple(digits)
        if not self.digits or sorted(set(digits) & set(range(10))) != sorted(digits):
            raise UserError(f"digits are {list(digits)}; name some of 0 to 9, each once")
        self.classes = tuple(NAMES[digit] for digit in self.digits)
        self.path, self.held_out = path, tuple(held_out)

    def load(self) -> Mapping[str, Sequence[Sound]]:
        """Sorts the recordings into the splits."""
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise UserError(f"there is no folder {root}; give data.path")
        found: dict[str, list[Sound]] = {"train": [], "val": [], "test": []}
        speakers = set()
        for digit, speaker, index, file in digit_recordings(root):
            speakers.add(speaker)
            if digit not in self.digits:
                continue
            out = speaker in self.held_out
            split = "test" if index < 5 else "val" if index < 10 else "train"
            if self.held_out and split == "test" and not out:
                split = "train"
            found["test" if out else split].append(Sound(file, self.digits.index(digit)))
        if lacking := sorted(set(self.held_out) - speakers):
            known = ", ".join(sorted(speakers))
            raise UserError(f"{root} has no speaker {', '.join(lacking)}; it has {known}")
        return found
