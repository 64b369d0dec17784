"""What transcribe reads beside a model: of the right kinds, or one line."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headway.core.errors import UserError
from headway.core.weights import save_pretrained
from headway.speech.data.front_end import FrontEnd
from headway.speech.data.tokenizer import Tokenizer
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import CTC, Conformer
from headway.speech.verbs.loading import load_recogniser

FRONT_END = FrontEnd(mels=10, normalise="utterance").as_dict()
TOKENIZER = Tokenizer(tokens=("<blank>", "a", "b")).as_dict()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stem = partial(ConvolutionSubsampling, features=10, channels=3)
    model = CTC(encoder=Conformer(dim=16, depth=1, heads=2, stem=stem), vocab_size=3)
    return save_pretrained(model, tmp_path_factory.mktemp("model"))


def test_right_notes_load(folder: Path) -> None:
    notes = {"frontend": FRONT_END, "tokenizer": TOKENIZER}
    (folder / "preprocessing.json").write_text(json.dumps(notes))
    assert load_recogniser(str(folder), "cpu").front_end.mels == 10


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("frontend", [1]),
        ("frontend", "fbank"),
        ("frontend", {**FRONT_END, "mels": "10"}),
        ("frontend", {**FRONT_END, "sample_rate": None}),
        ("frontend", {**FRONT_END, "sample_rate": 10**12}),
        ("frontend", {**FRONT_END, "kind": []}),
        ("frontend", {**FRONT_END, "mean": 3, "std": 3}),
        ("frontend", {**FRONT_END, "mean": ["a"] * 10}),
        ("tokenizer", 3),
        ("tokenizer", {}),
        ("tokenizer", {**TOKENIZER, "tokens": 3}),
        ("tokenizer", {**TOKENIZER, "tokens": "abc"}),
        ("tokenizer", {**TOKENIZER, "tokens": [1, 2, 3]}),
        ("tokenizer", {**TOKENIZER, "blank": "0"}),
        ("tokenizer", {**TOKENIZER, "blank": 7}),
        ("tokenizer", {**TOKENIZER, "case": {}}),
    ],
)
def test_notes_of_another_kind_are_one_line(folder: Path, part: str, value: Any) -> None:
    notes = {"frontend": FRONT_END, "tokenizer": TOKENIZER, part: value}
    (folder / "preprocessing.json").write_text(json.dumps(notes))
    with pytest.raises(UserError, match=f"preprocessing.json of .*{part}"):
        load_recogniser(str(folder), "cpu")
