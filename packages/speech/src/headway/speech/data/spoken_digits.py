"""Single digits of the Free Spoken Digit Dataset."""

from collections.abc import Mapping, Sequence

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
        **audio: As of every ``AudioData``: batch_size, on_invalid, and of every ``DataModule``.

    Source:
        Jackson et al., Free Spoken Digit Dataset, https://github.com/Jakobovski/free-spoken-digit-dataset.
    """

    classes = NAMES

    def __init__(
        self, *, path: str, held_out: Sequence[str] = (), **audio: Passed[AudioOptions]
    ) -> None:
        super().__init__(**audio)
        self.path, self.held_out = path, tuple(held_out)

    def load(self) -> Mapping[str, Sequence[Sound]]:
        """Sorts the recordings into the splits."""
        return {
            split: [Sound(recording.file, recording.digit) for recording in recordings]
            for split, recordings in digit_splits(self.path, self.held_out).items()
        }
