"""Single digits of the Free Spoken Digit Dataset."""

from collections.abc import Mapping, Sequence

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.speech.data.audio_data import AudioData, Sound
from headway.speech.data.audio_folder import AudioOptions
from headway.speech.data.digit_recordings import NAMES, digit_splits


class SpokenDigits(AudioData):
    """Which digit a recording of the Free Spoken Digit Dataset is.

    ``path`` holds ``{digit}_{speaker}_{index}.wav``, split as ``digit_splits`` does.

    Args:
        path: Folder of recordings.
        held_out: Speakers that are in the test part alone.
        digits: Which digits there are.
        **audio: As of every ``AudioData``: batch_size, on_invalid, perturb, and of every ``DataModule``.

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
        return {
            split: [
                Sound(one.file, self.digits.index(one.digit))
                for one in recordings
                if one.digit in self.digits
            ]
            for split, recordings in digit_splits(self.path, self.held_out).items()
        }
