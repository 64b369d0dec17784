"""Any folder of class folders of recordings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from headway.core.errors import UserError
from headway.core.training import LoaderOptions, Passed
from headway.core.training.invalid import OnInvalid
from headway.core.training.splits import part_size
from headway.speech.data.audio import EXTENSIONS
from headway.speech.data.audio_data import AudioData, Sound
from headway.speech.data.perturbations import Perturbation

SPLITS = ("train", "val", "test")


class AudioOptions(LoaderOptions, total=False):
    """What an ``AudioData`` passes on."""

    batch_size: int
    on_invalid: OnInvalid
    perturb: Sequence[Perturbation]


class AudioFolder(AudioData):
    """Recordings in class folders: ``path/dog/1.wav``, or ``path/train/dog/1.wav`` with ``val`` and ``test``.

    The classes are the training folders, sorted. Without ``val`` or ``test`` folders the splits are carved
    from the training recordings, the same share of every class.

    Args:
        path: The folder.
        val: Share or number of the training recordings that validate, if there is no ``val`` folder.
        test: Share or number of those that test, if there is no ``test`` folder; 0 makes no test split.
        split_seed: Of these splits.
        **audio: As of every ``AudioData``: batch_size, on_invalid, perturb, and of every ``DataModule``.
    """

    def __init__(
        self,
        *,
        path: str,
        val: int | float = 0.1,
        test: int | float = 0.0,
        split_seed: int = 0,
        **audio: Passed[AudioOptions],
    ) -> None:
        super().__init__(**audio)
        self.path, self.val, self.test, self.split_seed = path, val, test, split_seed

    def load(self) -> Mapping[str, Sequence[Sound]]:
        """Finds the recordings, and carves what has no folder."""
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise UserError(f"there is no folder {root}; give data.path")
        own = (root / "train").is_dir()
        train = root / "train" if own else root
        self.classes = tuple(sorted(one.name for one in train.iterdir() if one.is_dir()))
        if not self.classes:
            raise UserError(f"{train} has no class folders, such as {train}/dog with recordings")
        found = {"train": self._sounds(train)}
        for split in SPLITS[1:]:
            if own and (root / split).is_dir():
                found[split] = self._sounds(root / split)
        for split in SPLITS[:0:-1]:
            part = self.test if split == "test" else self.val
            if split not in found and part:
                found["train"], found[split] = self._carved(found["train"], part, split)
        return found

    def _sounds(self, folder: Path) -> list[Sound]:
        unknown = {one.name for one in folder.iterdir() if one.is_dir()} - set(self.classes)
        if unknown:
            raise UserError(f"{folder} has classes that train lacks: {', '.join(sorted(unknown))}")
        return [
            Sound(file, label)
            for label, name in enumerate(self.classes)
            for file in sorted((folder / name).rglob("*"))
            if file.suffix.lower() in EXTENSIONS
        ]

    def _carved(
        self, sounds: list[Sound], part: int | float, split: str
    ) -> tuple[list[Sound], list[Sound]]:
        """Returns what stays and what was taken, as even over the classes as can be."""
        wanted = part_size(part, len(sounds), split, "recordings")
        generator = torch.Generator().manual_seed(self.split_seed)
        order = torch.randperm(len(sounds), generator=generator).tolist()
        # Of each class the first, then the second ...: by how far its class has been gone through.
        counts = [0] * len(self.classes)
        sizes = [sum(sound.label == label for sound in sounds) for label in range(len(counts))]
        share: dict[int, float] = {}
        for place in order:
            label = sounds[place].label
            counts[label] += 1
            share[place] = counts[label] / (sizes[label] + 1)
        taken = set(sorted(order, key=lambda place: share[place])[:wanted])
        return (
            [sound for place, sound in enumerate(sounds) if place not in taken],
            [sounds[place] for place in sorted(taken)],
        )
