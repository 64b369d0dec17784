"""Damaged manifests, recordings and published folders are one line each."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from models.test_conformer_parity import saved, tiny
from test_data import listener

from headway.core.testing.damage import damaged, refusals
from headway.core.weights import from_pretrained
from headway.speech.data import SpeechManifest

Make = Callable[..., Path]
TIMES = 40


def damaged_folder(files: list[Path], use: Callable[[], object]) -> list[str]:
    drawn = random.Random(0)

    def once() -> None:
        file = drawn.choice(files)
        whole = file.read_bytes()
        try:
            file.write_bytes(damaged(whole, drawn))
            use()
        finally:
            file.write_bytes(whole)

    return refusals(once for _ in range(TIMES))


@pytest.mark.parametrize("policy", ["raise", "skip"])
@pytest.mark.parametrize("name", ["train.jsonl", "train.csv"])
def test_damaged_manifests(name: str, policy: str, make_manifest: Make) -> None:
    file = make_manifest(name, seconds=0.3)
    files = [file, file, next((file.parent / "audio").glob("*.wav"))]

    def use() -> None:
        data = SpeechManifest(path=str(file), val=2, on_invalid=policy)
        data.use(listener("ab "))
        for part in (data.train_set, data.val_set):
            _ = part[0]

    # Where bad rows are left out, only what is wrong with the whole file is said.
    assert len(damaged_folder(files, use)) > (10 if policy == "raise" else 0)


def test_damaged_files_of_a_published_conformer(tmp_path: Path) -> None:
    saved(tiny(), tmp_path)
    files = [tmp_path / "config.json"] * 2 + [tmp_path / "vocab.json"]
    assert len(damaged_folder(files, lambda: from_pretrained(tmp_path))) > TIMES // 4
