"""Folders of an earlier release, whose vocabulary and front end stand beside the model, keep loading."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from headway.core.errors import UserError
from headway.core.weights import save_pretrained
from headway.speech.front_ends import KaldiFbank
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import CTC, Conformer, pretrained
from headway.speech.tokenizers import TextTokenizer
from headway.speech.verbs.loading import load_recogniser

FRONT_END = {
    "kind": "fbank", "sample_rate": 8000, "mels": 10, "normalise": "global",
    "mean": [0.5] * 10, "std": [2.0] * 10,
}  # fmt: skip
TOKENIZER = {"tokens": ["<blank>", "a", "b"], "unit": "characters", "case": "upper", "blank": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the earlier release wrote: sizes in config.json, the rest in preprocessing.json."""
    stem = partial(ConvolutionSubsampling, features=10, channels=3)
    model = CTC(
        encoder=Conformer(dim=16, depth=1, heads=2, stem=stem),
        tokenizer=TextTokenizer(vocabulary=("<blank>", "a", "b")),
        front_end=KaldiFbank(mels=10, normalise="none"),
    )
    path = save_pretrained(model, tmp_path_factory.mktemp("model"))
    config = json.loads((path / "config.json").read_text())
    for name in ("tokenizer", "front_end"):
        del config["init_args"][name]
    config["init_args"].update(vocab_size=3, blank=0)
    (path / "config.json").write_text(json.dumps(config))
    return path


def note(folder: Path, **notes: Any) -> None:
    (folder / "preprocessing.json").write_text(json.dumps(notes))


def test_an_earlier_folder_has_its_vocabulary_and_front_end(folder: Path, tmp_path: Path) -> None:
    note(folder, frontend=FRONT_END, tokenizer=TOKENIZER)
    model = load_recogniser(str(folder), "cpu")
    assert isinstance(model.tokenizer, TextTokenizer)
    assert (model.tokenizer.vocabulary, model.tokenizer.case) == (("<blank>", "a", "b"), "upper")
    sound = torch.randn(1, 4000)
    plain = KaldiFbank(sample_rate=8000, mels=10, normalise="none")(sound).inputs
    torch.testing.assert_close(model.front_end(sound).inputs, (plain - 0.5) / 2)
    again = pretrained(str(save_pretrained(model, tmp_path)))
    torch.testing.assert_close(again.front_end(sound).inputs, (plain - 0.5) / 2)
    assert again.tokenizer.vocabulary == ("<blank>", "a", "b")


def test_one_without_notes_says_so(folder: Path) -> None:
    (folder / "preprocessing.json").unlink(missing_ok=True)
    with pytest.raises(UserError, match="does not say what its tokens mean"):
        load_recogniser(str(folder), "cpu")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("frontend", [1]),
        ("frontend", "fbank"),
        ("frontend", {**FRONT_END, "mels": "10"}),
        ("frontend", {**FRONT_END, "mels": 12}),
        ("frontend", {**FRONT_END, "sample_rate": None}),
        ("frontend", {**FRONT_END, "sample_rate": 10**12}),
        ("frontend", {**FRONT_END, "mean": 3, "std": [3] * 9}),
        ("frontend", {**FRONT_END, "mean": ["a"] * 10}),
        ("tokenizer", 3),
        ("tokenizer", {}),
        ("tokenizer", {**TOKENIZER, "tokens": 3}),
        ("tokenizer", {**TOKENIZER, "tokens": "abc"}),
        ("tokenizer", {**TOKENIZER, "tokens": [1, 2, 3]}),
        ("tokenizer", {**TOKENIZER, "tokens": ["a", "b"]}),
        ("tokenizer", {**TOKENIZER, "blank": "0"}),
        ("tokenizer", {**TOKENIZER, "blank": 7}),
        ("tokenizer", {**TOKENIZER, "case": {}}),
    ],
)
def test_notes_of_another_kind_are_one_line(folder: Path, part: str, value: Any) -> None:
    note(folder, **{"frontend": FRONT_END, "tokenizer": TOKENIZER, part: value})
    with pytest.raises(UserError, match=f"preprocessing.json of .*{part}"):
        load_recogniser(str(folder), "cpu")
