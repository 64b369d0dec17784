import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent))

from spoken import tone, write_manifest

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings as the Free Spoken Digit Dataset names them: of each digit and speaker 0, 5 and 10."""
    folder = tmp_path_factory.mktemp("shared") / "digits"
    folder.mkdir()
    for digit in range(10):
        for place, speaker in enumerate(("ann", "bob")):
            for index in (0, 5, 10):
                samples = tone(0.2 + 0.01 * digit, 8000, 200 + 150 * digit + 30 * place, index)
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", samples, 8000)
    return folder


@pytest.fixture
def digits(shared_digits: Path, tmp_path: Path) -> Path:
    """The recordings in a folder of one's own."""
    return Path(shutil.copytree(shared_digits, tmp_path / "digits"))


@pytest.fixture
def make_manifest(tmp_path: Path) -> Make:
    """Makes ``tmp_path/name.jsonl`` (or .csv) with recordings beside it."""

    def make(
        name: str = "train.jsonl",
        texts: tuple[str, ...] = ("ab", "ba b", "a", "bb", "abba", "baa"),
        rate: int = 16000,
        seconds: float = 0.8,
    ) -> Path:
        path = tmp_path / name
        audio = tmp_path / "audio"
        audio.mkdir(exist_ok=True)
        rows = []
        for number, text in enumerate(texts):
            file = audio / f"{path.stem}_{number}.wav"
            soundfile.write(file, tone(seconds + 0.1 * number, rate, 200 + 100 * number), rate)
            rows.append({"audio": f"audio/{file.name}", "text": text, "speaker": "ab"[number % 2]})
        write_manifest(path, rows)
        return path

    return make
