"""Manifests of Lhotse, read without it."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from spoken import tone
from test_perturbations import listener

from headway.core.cli.counts import Counts
from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.speech.data import SpeechManifest
from headway.speech.data.audio import read_audio
from headway.speech.data.manifest import read_manifest
from headway.speech.data.speech_manifest import find_manifests
from headway.speech.verbs.inputs import find_items


def recording(source: str = "download/call.wav", **changes: Any) -> dict[str, Any]:
    return {
        "id": "call",
        "sources": [{"type": "file", "channels": [0, 1], "source": source}],
        "sampling_rate": 16000,
        "num_samples": 32000,
        "duration": 2.0,
        "channel_ids": [0, 1],
        **changes,
    }


def said(text: str, start: float, duration: float, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"call-{text}",
        "recording_id": "call",
        "start": start,
        "duration": duration,
        "channel": 0,
        "text": text,
        "language": "en",
        "speaker": "ann",
        "gender": "F",
        **changes,
    }


def cut(*supervisions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "call-0",
        "start": 0.5,
        "duration": 1.0,
        "channel": 1,
        "supervisions": list(supervisions),
        "features": {"type": "kaldi-fbank", "storage_path": "feats.lca"},
        "recording": recording(),
        "type": "MonoCut",
        **changes,
    }


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    else:
        path.write_text(content)
    return path


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """The folder of manifests of a project whose program ran above it."""
    (tmp_path / "download").mkdir()
    both = np.stack([tone(2.0, 16000, 300), tone(2.0, 16000, 700)], axis=1)
    soundfile.write(tmp_path / "download" / "call.wav", both, 16000)
    (tmp_path / "data" / "manifests").mkdir(parents=True)
    return tmp_path / "data" / "manifests"


def test_cuts_are_read_with_the_places_of_their_supervisions(manifests: Path) -> None:
    rows = [
        cut(said("ab", 0.0, 0.4), said("ba", 0.3, 0.9, channel=[1], speaker="bob")),
        cut(start=0, duration=2.0, channel=[0, 1], type="MultiCut"),
    ]
    path = write(manifests / "call_cuts_train.jsonl.gz", rows)
    one, two, silent = read_manifest(path, need_text=False)
    audio = manifests.parents[1] / "download" / "call.wav"
    assert (one.text, one.start, one.duration, one.channel) == ("ab", 0.5, 0.4, 1)
    assert (one.speaker, one.language, one.audio) == ("ann", "en", audio)
    # It lasts longer than its cut, which is what was chosen.
    assert (two.text, two.start, two.speaker) == ("ba", 0.8, "bob")
    assert two.duration == pytest.approx(0.7)
    assert (silent.text, silent.start, silent.duration, silent.channel) == (None, 0.0, 2.0, None)
    samples = read_audio(
        one.audio, sample_rate=16000, start=one.start, duration=one.duration, channel=one.channel
    )
    wanted = torch.from_numpy(tone(2.0, 16000, 700)).float()[8000:14400]
    torch.testing.assert_close(samples, wanted, atol=1e-4, rtol=0)
    assert [item.row for item in find_items([str(path)], Counts("recordings"), "raise")] == [
        one,
        two,
        silent,
    ]


def test_supervisions_are_read_beside_their_recordings(manifests: Path) -> None:
    alone = recording(sources=[{"type": "file", "channels": [0], "source": "download/call.wav"}])
    write(manifests / "call_recordings_train.jsonl.gz", [alone])
    path = write(
        manifests / "call_supervisions_train.jsonl.gz",
        [said("ab", 0.25, 1.5), said("b", 0, 1, recording_id="other")],
    )
    invalid = InvalidItems("skip")
    [row] = read_manifest(path, invalid)
    assert (row.text, row.start, row.duration, row.channel) == ("ab", 0.25, 1.5, None)
    assert "there is no recording other" in invalid.errors[0].reason
    [row] = read_manifest(manifests / "call_recordings_train.jsonl.gz", need_text=False)
    assert (row.text, row.start, row.duration) == (None, 0.0, None)
    (manifests / "call_recordings_train.jsonl.gz").unlink()
    with pytest.raises(InputError, match=r"needs its recordings in call_recordings_train\.jsonl"):
        read_manifest(path)


def test_cuts_train_a_model(manifests: Path) -> None:
    rows = [cut(said(text, 0.0, 1.0)) for text in ("ab", "ba", "a", "b", "bb", "aa")]
    write(manifests / "train.jsonl.gz", rows)
    assert find_manifests(manifests) == {"train": manifests / "train.jsonl.gz"}
    data = SpeechManifest(path=str(manifests), val=2)
    data.use(listener())
    assert {len(item.waveform) for item in data.train_set} == {16000}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": "m", "type": "MixedCut", "tracks": []}, "is a MixedCut, which mixes recordings"),
        (cut(recording=None), "cuts of features alone cannot be heard"),
        (cut(said("a", 0, 1), duration=None), "is no cut, supervision or recording"),
        (cut({"text": "a"}), "it has no 'start'"),
        (cut(said("a", 0, 1), channel=7), "has no channel 7"),
        (
            cut(
                recording=recording(
                    sources=[{"type": "command", "channels": [0, 1], "source": "x"}]
                )
            ),
            "is a 'command', which is neither run nor fetched",
        ),
        (cut(recording=recording(transforms=[{"name": "Speed"}])), "is altered .Speed."),
        (cut(recording=recording(sources=[])), "is no cut, supervision or recording"),
        (cut(said("a", 2, 1)), "no possible number of seconds"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(
    manifests: Path, row: dict[str, Any], reason: str
) -> None:
    good = cut(said("a", 0, 1), recording=recording(transforms=[{"name": "Resample"}]))
    path = write(manifests / "cuts.jsonl", [good, row])
    invalid = InvalidItems("skip")
    assert len(read_manifest(path, invalid, need_text=False)) == 1
    [error] = invalid.errors
    assert reason.replace(".Speed.", "(Speed)") in error.reason
    with pytest.raises((InputError, UserError), match=r"cuts\.jsonl:2"):
        read_manifest(path, need_text=False)
