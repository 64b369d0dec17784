"""Any recordings with texts, listed in manifests."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from headway.core.errors import InputError, UserError
from headway.core.training import Passed
from headway.speech.data.audio import check_span, read_audio, seconds_of
from headway.speech.data.manifest import Utterance, read_manifest
from headway.speech.data.manifest_rows import KALDI, SUFFIXES
from headway.speech.data.speech_data import SpeechData, SpeechOptions
from headway.speech.data.speech_set import Recording, SpeechSet
from headway.speech.speech_model import SpeechModel, SpokenTextModel
from headway.speech.tokenizers import text_tokens

SPLITS = {"train": ("train",), "val": ("val", "dev", "valid", "validation"), "test": ("test",)}


class UtteranceSet(SpeechSet):
    """The rows of a manifest.

    Args:
        rows: The rows, with texts.
        seconds: Their lengths.
    """

    def __init__(self, rows: Sequence[Utterance], seconds: Sequence[float]) -> None:
        self.rows, self.seconds = rows, seconds

    def texts(self) -> Sequence[str]:
        """Returns the texts of the rows."""
        return [row.text or "" for row in self.rows]

    def recording(self, index: int, sample_rate: int) -> Recording:
        """Reads a row."""
        row = self.rows[index]
        name = f"{row.where}: {row.audio}"
        waveform = read_audio(
            row.audio,
            sample_rate=sample_rate,
            start=row.start,
            duration=row.duration,
            channel=row.channel,
            name=name,
        )
        return Recording(waveform, row.text or "", name, row.speaker or "", row.language or "")


class SpeechManifest(SpeechData):
    """Recordings with texts from manifests: ``audio, text``, perhaps ``start, duration, speaker, channel``.

    JSON lines, JSON, CSV and TSV with the columns of NeMo, Hugging Face and Common Voice, LJSpeech's
    ``metadata.csv``, folders of Kaldi and cuts of Lhotse are read (``read_manifest``). ``path`` is one of
    them, or a folder with ``train``, ``val`` (or ``dev``) and ``test``. Without the latter two the splits are
    carved from the training rows so that no text (or no speaker) is on both sides.

    Args:
        path: A manifest, or a folder of them.
        val: Share or number of the training rows that validate, if there is no ``val`` manifest.
        test: Share or number of the training rows that test, if there is no ``test`` manifest; 0 makes no
            test split.
        split_by: What never is on both sides of a split, ``"text"``, ``"speaker"`` or ``"recording"``.
        split_seed: Of these splits.
        max_seconds: Longer rows cannot be used.
        need_text: Whether rows without a text are refused; models that learn from speech alone need none.
        columns: What columns of other names are: name in the file to ``audio``, ``text``, ``start``,
            ``duration``, ``speaker``, ``channel`` or ``ignore``.
        **speech: As of every ``SpeechData``: batch_seconds, batch_size, on_invalid, perturb,
            quadratic_seconds, and of every ``DataModule``.
    """

    def __init__(
        self,
        *,
        path: str,
        val: int | float = 0.1,
        test: int | float = 0.0,
        split_by: Literal["text", "speaker", "recording"] = "text",
        split_seed: int = 0,
        max_seconds: float = 35.0,
        need_text: bool = True,
        columns: Mapping[str, str] | None = None,
        **speech: Passed[SpeechOptions],
    ) -> None:
        super().__init__(**speech)
        if split_by not in ("text", "speaker", "recording"):
            raise UserError(f"split_by is 'text', 'speaker' or 'recording', got {split_by!r}")
        self.path = Path(path).expanduser()
        self.shares = {"test": test, "val": val}
        self.split_by = split_by
        self.split_seed = split_seed
        self.max_seconds = max_seconds
        self.need_text = need_text
        self.columns = columns

    def load(self) -> dict[str, SpeechSet]:
        """Reads the manifests and the lengths of the recordings, and splits."""
        found = find_manifests(self.path)
        train = self._measured_rows(self._rows(found.pop("train")))
        parts = {}
        for split, share in self.shares.items():
            if split in found:
                parts[split] = self._measured_rows(self._rows(found[split]))
                continue
            number = share if isinstance(share, int) else round(share * len(train))
            if number:
                train, parts[split] = split_groups(train, number, self._group, self.split_seed)
        parts["train"] = train
        return {
            split: UtteranceSet([row for row, _ in rows], [seconds for _, seconds in rows])
            for split, rows in parts.items()
        }

    def usable(self, data: SpeechSet, model: SpeechModel) -> SpeechSet:
        """Leaves out texts outside the vocabulary and those too long for their recording."""
        assert isinstance(data, UtteranceSet)
        rate = model.front_end.sample_rate
        samples = torch.tensor([int(seconds * rate) for seconds in data.seconds])
        counts, kept = model.token_counts(samples).tolist(), []
        for index, (row, seconds) in enumerate(zip(data.rows, data.seconds, strict=True)):
            name, made = f"{row.where}: {row.audio}", counts[index]
            try:
                needed = 1
                if isinstance(model, SpokenTextModel):
                    needed = model.needed(text_tokens(model.tokenizer, row.text or "", name))
                if made < needed:
                    raise InputError(
                        name,
                        f"its text needs {needed} tokens of speech and {seconds:.2f} s of audio give "
                        f"{made}; too short to be learned",
                    )
            except InputError as error:
                self.invalid.add(error)
            else:
                kept.append(index)
        return UtteranceSet(
            [data.rows[index] for index in kept], [data.seconds[index] for index in kept]
        )

    def _rows(self, path: Path) -> list[Utterance]:
        return read_manifest(path, self.invalid, need_text=self.need_text, columns=self.columns)

    def _group(self, row: Utterance) -> str:
        if self.split_by == "recording":
            return str(row.audio)
        if self.split_by == "text":
            return " ".join((row.text or "").lower().split())
        if row.speaker is None:
            raise UserError(f"{row.where} has no speaker; split_by text needs none")
        return row.speaker

    def _measured_rows(self, rows: Sequence[Utterance]) -> list[tuple[Utterance, float]]:
        """Returns the rows with their lengths in seconds; those without a recording are invalid."""
        found = []
        for row in rows:
            name = f"{row.where}: {row.audio}"
            try:
                left = seconds_of(row.audio, name) - row.start
                check_span(name, left + row.start, row.start, row.duration)
                seconds = left if row.duration is None else min(row.duration, left)
                if seconds > self.max_seconds:
                    raise InputError(
                        name, f"{seconds:.1f} s is longer than max_seconds {self.max_seconds:g}"
                    )
            except InputError as error:
                self.invalid.add(error)
            else:
                found.append((row, seconds))
        return found


def find_manifests(path: Path) -> dict[str, Path]:
    """Returns the manifests of a folder by split, or one file as that of training.

    Raises:
        UserError: If there is none for training.
    """
    if not path.is_dir() or (path / KALDI).is_file():
        return {"train": path}
    found: dict[str, Path] = {}
    for split, names in SPLITS.items():
        files = [path / f"{name}{suffix}" for name in names for suffix in SUFFIXES]
        files = [file for file in files if file.is_file()]
        files += [path / name for name in names if (path / name / KALDI).is_file()]
        if len(files) > 1:
            raise UserError(f"{files[0]} and {files[1].name} are both there; keep one of them")
        if files:
            found[split] = files[0]
    if "train" not in found and (path / "metadata.csv").is_file():
        found["train"] = path / "metadata.csv"
    if "train" not in found:
        choices = ", ".join(f"train{suffix}" for suffix in SUFFIXES)
        raise UserError(f"{path} has none of {choices}, metadata.csv, {KALDI} and train/{KALDI}")
    return found


Rows = list[tuple[Utterance, float]]


def split_groups(
    rows: Rows, number: int, group: Callable[[Utterance], str], seed: int
) -> tuple[Rows, Rows]:
    """Returns the rows that stay and at least ``number`` that go; whole groups stay together.

    Args:
        rows: The rows.
        number: How many shall go.
        group: Returns the group of a row.
        seed: Of the choice.

    Raises:
        UserError: If none would stay.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, (row, _) in enumerate(rows):
        groups[group(row)].append(index)
    names = sorted(groups)
    random.Random(seed).shuffle(names)
    gone: set[int] = set()
    for name in names:
        if len(gone) >= number:
            break
        gone.update(groups[name])
    if len(gone) >= len(rows):
        raise UserError(f"{number} of {len(rows)} rows in {len(groups)} groups leave none to train")
    stay = [row for index, row in enumerate(rows) if index not in gone]
    return stay, [rows[index] for index in sorted(gone)]
