"""The recordings of the Free Spoken Digit Dataset and their splits."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from headway.core.errors import UserError

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FILE = re.compile(r"^(\d)_(.+)_(\d+)\.wav$")


class DigitRecording(NamedTuple):
    """One spoken digit."""

    digit: int
    speaker: str
    file: Path


def digit_splits(path: str, held_out: Sequence[str] = ()) -> dict[str, list[DigitRecording]]:
    """Sorts the recordings ``{digit}_{speaker}_{index}.wav`` of a folder into splits.

    Recordings 0 to 4 of each digit and speaker test, as the data set has it; 5 to 9 validate, the others
    train. Speakers who are held out test with all of their recordings, and nobody else does.

    Args:
        path: The folder.
        held_out: Speakers that are in the test part alone.

    Raises:
        UserError: If the folder is not there or a split has no recordings, or a speaker is not there.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; give data.path")
    found: dict[str, list[DigitRecording]] = {"train": [], "val": [], "test": []}
    speakers = set()
    for file in sorted(root.glob("*.wav")):
        if not (match := _FILE.match(file.name)):
            continue
        speaker, index = match[2], int(match[3])
        speakers.add(speaker)
        out = speaker in held_out
        split = "test" if index < 5 else "val" if index < 10 else "train"
        if held_out and split == "test" and not out:
            split = "train"
        found["test" if out else split].append(DigitRecording(int(match[1]), speaker, file))
    if lacking := sorted(set(held_out) - speakers):
        known = ", ".join(sorted(speakers))
        raise UserError(f"{root} has no speaker {', '.join(lacking)}; it has {known}")
    for split, recordings in found.items():
        if not recordings:
            raise UserError(
                f"{root} has no recordings for {split}; they are named DIGIT_SPEAKER_INDEX.wav "
                "with indices 0-4 (test), 5-9 (validation) and from 10 on (training)"
            )
    return found
