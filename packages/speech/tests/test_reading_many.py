"""Many recordings at once: batches of similar length within a budget, rows in the order that was asked for."""

from functools import partial
from pathlib import Path

import pytest
import soundfile
import torch
from spoken import tone

from headway.core.cli.counts import Counts
from headway.core.errors import UserError
from headway.speech.data import voice_activity
from headway.speech.data.batching import by_length
from headway.speech.data.cutting import quiet_cuts
from headway.speech.front_ends import KaldiFbank
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import CTC, Conformer
from headway.speech.tokenizers import TextTokenizer
from headway.speech.verbs.inputs import find_items
from headway.speech.verbs.transcribe import transcribe


def test_batches_hold_recordings_of_similar_length_within_a_budget() -> None:
    seconds = [3.0, 0.5, 600.0, 1.0, 2.0, 0.4, 3.5]
    groups = by_length(seconds, batch_size=3, batch_seconds=7.0)
    assert groups == [[5, 1, 3], [4, 0], [6], [2]]
    assert by_length([], batch_size=3, batch_seconds=7.0) == []
    for group in groups:
        longest = max(seconds[place] for place in group)
        assert len(group) == 1 or longest * len(group) <= 7.0


def test_long_recordings_are_cut_where_it_is_quiet() -> None:
    rate = 1000
    sound = torch.from_numpy(tone(10.0, rate, 100)).float()
    for second in (2.6, 5.1, 7.8):
        sound[int(second * rate) : int((second + 0.3) * rate)] *= 1e-3
    spans = quiet_cuts(sound, rate, most=3.0)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(sound)
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
    assert all(end - start <= 3 * rate for start, end in spans)
    cuts = [end / rate for _, end in spans[:-1]]
    assert [min(abs(cut - quiet) for cut in cuts) < 0.15 for quiet in (2.75, 5.25, 7.95)] == [
        True
    ] * 3
    assert quiet_cuts(sound, rate, most=10.0) == [(0, len(sound))]


@pytest.fixture
def recogniser() -> CTC:
    torch.manual_seed(0)
    stem = partial(ConvolutionSubsampling, features=16, channels=8)
    return CTC(
        encoder=Conformer(dim=32, depth=1, heads=2, stem=stem),
        tokenizer=TextTokenizer(vocabulary=("<blank>", "a", "b", "c")),
        front_end=KaldiFbank(mels=16, normalise="utterance"),
    ).eval()


def test_rows_come_in_order_and_do_not_depend_on_the_batches(
    recogniser: CTC, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, seconds in enumerate((0.9, 0.3, 2.0, 0.5, 0.31, 0.8)):
        samples = tone(seconds, 16000, 200 + 90 * place)
        soundfile.write(tmp_path / f"{place}.wav", samples, 16000)
    (tmp_path / "3x.wav").write_text("no recording")
    items = find_items([str(tmp_path)], Counts("recordings"), "keep")
    alone = list(transcribe(recogniser, items, batch_size=1, on_invalid="keep"))
    assert [Path(row["file"]).stem for row in alone] == ["0", "1", "2", "3", "3x", "4", "5"]
    sizes: list[int] = []
    heard = CTC.encode

    def counted(self: CTC, inputs: torch.Tensor, lengths: torch.Tensor):
        sizes.append(len(inputs))
        return heard(self, inputs, lengths)

    monkeypatch.setattr(CTC, "encode", counted)
    together = transcribe(recogniser, items, batch_size=4, batch_seconds=2.0, on_invalid="keep")
    for row, other in zip(alone, together, strict=True):
        assert row.pop("confidence", None) == pytest.approx(other.pop("confidence", None), abs=1e-5)
        assert row == other
    assert sizes == [3, 2, 1]


def test_a_long_recording_is_heard_in_parts_among_short_ones(
    recogniser: CTC, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tone(3.5, 16000, 300)
    whole[16000:19200] *= 1e-4
    whole[35200:38400] *= 1e-4
    soundfile.write(tmp_path / "a.wav", whole, 16000)
    soundfile.write(tmp_path / "b.wav", tone(0.5, 16000, 200), 16000)
    items = find_items([str(tmp_path)], Counts("recordings"), "raise")
    monkeypatch.setattr(CTC, "longest", 1.5)
    long, short = transcribe(recogniser, items)
    assert (long["duration"], short["duration"]) == (3.5, 0.5)
    sound = torch.from_numpy(soundfile.read(tmp_path / "a.wav", dtype="float32")[0])
    spans = quiet_cuts(sound, 16000, 1.5)
    assert len(spans) == 3
    with torch.inference_mode():
        parts = [recogniser.hear(sound[None, a:b])[0].text for a, b in spans]
    assert long["text"] == " ".join(part for part in parts if part)


class Detector:
    """Speaks of speech as the package does: places at 16 kHz."""

    def __init__(self, *spans: tuple[int, int]) -> None:
        self.spans, self.samples = spans, 0

    def __call__(self, samples: torch.Tensor, model: str, *, sampling_rate: int, **options: int):
        assert (model, sampling_rate) == ("weights", 16000)
        self.samples = len(samples)
        return [{"start": start, "end": end} for start, end in self.spans]


def test_only_speech_is_heard_where_that_is_asked_for(
    recogniser: CTC, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(3.0, 16000, 300), 16000)
    items = find_items([str(tmp_path)], Counts("recordings"), "raise")
    spans = [(8000, 24000), (30000, 44000)]
    monkeypatch.setattr(voice_activity, "_detector", lambda: (Detector(*spans), "weights"))
    [row] = transcribe(recogniser, items, speech_only=True)
    sound = torch.from_numpy(soundfile.read(tmp_path / "a.wav", dtype="float32")[0])
    with torch.inference_mode():
        parts = [recogniser.hear(sound[None, a:b])[0].text for a, b in spans]
    assert row["text"] == " ".join(part for part in parts if part)
    monkeypatch.setattr(voice_activity, "_detector", lambda: (Detector(), "weights"))
    [row] = transcribe(recogniser, items, speech_only=True)
    assert (row["text"], row["confidence"]) == ("", 0.0)
    # At another rate the places are those of the recording.
    detector = Detector((1600, 4800))
    monkeypatch.setattr(voice_activity, "_detector", lambda: (detector, "weights"))
    assert voice_activity.speech_spans(torch.zeros(8000), 8000) == [(800, 2400)]
    assert detector.samples == 16000


def test_the_detector_finds_speech_or_says_what_to_install() -> None:
    voice_activity._detector.cache_clear()
    try:
        import silero_vad  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"pip install \"headway\[vad\]\""):
            voice_activity.speech_spans(torch.zeros(16000), 16000)
        return
    assert voice_activity.speech_spans(torch.zeros(16000), 16000) == []
