"""Many recordings at once: batches of similar length within a budget, rows in the order that was asked for."""

from functools import partial
from pathlib import Path

import pytest
import soundfile
import torch
from spoken import tone

from headway.core.cli.counts import Counts
from headway.speech.data import FrontEnd, Tokenizer
from headway.speech.data.batching import by_length
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import CTC, Conformer
from headway.speech.verbs.inputs import find_items
from headway.speech.verbs.loading import Recogniser
from headway.speech.verbs.transcribe import transcribe


def test_batches_hold_recordings_of_similar_length_within_a_budget() -> None:
    seconds = [3.0, 0.5, 600.0, 1.0, 2.0, 0.4, 3.5]
    groups = by_length(seconds, batch_size=3, batch_seconds=7.0)
    assert groups == [[5, 1, 3], [4, 0], [6], [2]]
    assert by_length([], batch_size=3, batch_seconds=7.0) == []
    for group in groups:
        longest = max(seconds[place] for place in group)
        assert len(group) == 1 or longest * len(group) <= 7.0


@pytest.fixture
def recogniser() -> Recogniser:
    torch.manual_seed(0)
    stem = partial(ConvolutionSubsampling, features=16, channels=8)
    model = CTC(encoder=Conformer(dim=32, depth=1, heads=2, stem=stem), vocab_size=4)
    return Recogniser(
        model=model.eval(),
        front_end=FrontEnd(mels=16, normalise="utterance"),
        tokenizer=Tokenizer(tokens=("<blank>", "a", "b", "c")),
        device=torch.device("cpu"),
    )


def test_rows_come_in_order_and_do_not_depend_on_the_batches(
    recogniser: Recogniser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, seconds in enumerate((0.9, 0.3, 2.0, 0.5, 0.31, 0.8)):
        samples = tone(seconds, 16000, 200 + 90 * place)
        soundfile.write(tmp_path / f"{place}.wav", samples, 16000)
    (tmp_path / "3x.wav").write_text("no recording")
    items = find_items([str(tmp_path)], Counts("recordings"), "keep")
    alone = list(transcribe(recogniser, items, batch_size=1, on_invalid="keep"))
    assert [Path(row["file"]).stem for row in alone] == ["0", "1", "2", "3", "3x", "4", "5"]
    sizes: list[int] = []
    heard = Recogniser.scores

    def counted(self: Recogniser, inputs: torch.Tensor, lengths: torch.Tensor):
        sizes.append(len(inputs))
        return heard(self, inputs, lengths)

    monkeypatch.setattr(Recogniser, "scores", counted)
    together = transcribe(recogniser, items, batch_size=4, batch_seconds=2.0, on_invalid="keep")
    for row, other in zip(alone, together, strict=True):
        assert row.pop("confidence", None) == pytest.approx(other.pop("confidence", None), abs=1e-5)
        assert row == other
    assert sizes == [3, 2, 1]
