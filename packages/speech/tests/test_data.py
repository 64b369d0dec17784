"""Recordings, manifests and strings of digits, good and bad."""

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from spoken import tone, write_manifest

from headway.core.cli.counts import Counts
from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.speech.data import DigitStrings, SpeechManifest
from headway.speech.data.audio import AudioError, read_audio
from headway.speech.data.digit_recordings import NAMES
from headway.speech.data.manifest import read_manifest
from headway.speech.data.speech_manifest import find_manifests
from headway.speech.front_ends import KaldiFbank
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import CTC, Conformer
from headway.speech.tokenizers import TextTokenizer
from headway.speech.verbs.inputs import find_items

Make = Callable[..., Path]


def listener(tokens: str, *, rate: int = 16000, unit: str = "characters") -> CTC:
    """A recogniser of these tokens that never learned anything."""
    stem = partial(ConvolutionSubsampling, features=10, channels=2)
    return CTC(
        encoder=Conformer(dim=8, depth=1, heads=1, stem=stem),
        tokenizer=TextTokenizer(unit=unit).extended(  # pyright: ignore[reportArgumentType]
            list(tokens) if unit == "characters" else tokens.split()
        ),
        front_end=KaldiFbank(sample_rate=rate, mels=10, normalise="none"),
    )


def write(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    soundfile.write(path, samples, rate)
    return path


def test_stereo_is_averaged_and_other_rates_are_resampled_with_one_note(tmp_path, caplog) -> None:
    both = np.stack([tone(0.5, 16000, 440), np.zeros(8000)], axis=1)
    mixed = read_audio(write(tmp_path / "stereo.wav", both), sample_rate=16000)
    torch.testing.assert_close(mixed, torch.from_numpy(both[:, 0]).float() / 2, atol=1e-4, rtol=0)
    for name in ("high.wav", "other.wav"):
        fine = read_audio(write(tmp_path / name, tone(0.5, 96000, 440), 96000), sample_rate=16000)
    assert len(fine) == 8000
    plain = torch.from_numpy(tone(0.5, 16000, 440)).float()
    assert (fine - plain)[200:-200].abs().mean() < 0.02
    notes = [record.message for record in caplog.records]
    assert sum("96000 Hz are resampled to 16000 Hz, such as" in note for note in notes) == 1
    assert sum("2 channels are averaged" in note for note in notes) == 1


def test_channels_that_cancel_each_other_out_are_not_silence(tmp_path: Path, caplog) -> None:
    sound = tone(0.5, 16000, 440)
    path = write(tmp_path / "against.wav", np.stack([sound, -sound], axis=1))
    heard = read_audio(path, sample_rate=16000)
    torch.testing.assert_close(heard, torch.from_numpy(sound).float(), atol=1e-4, rtol=0)
    assert "cancel each other out, the first one is heard" in caplog.text
    second = read_audio(path, sample_rate=16000, channel=1)
    torch.testing.assert_close(second, -heard, atol=1e-4, rtol=0)
    with pytest.raises(
        AudioError, match=r"against\.wav: has no channel 2; it has 2, counted from 0"
    ):
        read_audio(path, sample_rate=16000, channel=2)
    silent = read_audio(write(tmp_path / "silent.wav", np.zeros((100, 2))), sample_rate=16000)
    assert not silent.any()


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.w64", None), ("a.caf", None), ("a.rf64", None), ("a.voc", None), ("a.wav", "GSM610")],
)
def test_rarer_recordings_are_read_and_found(
    name: str, subtype: str | None, tmp_path: Path
) -> None:
    rate = 8000 if subtype else 16000
    soundfile.write(tmp_path / name, tone(0.5, rate, 440), rate, subtype=subtype)
    heard = read_audio(tmp_path / name, sample_rate=rate)
    assert len(heard) >= rate // 2
    assert heard.std() > 0.1
    part = read_audio(tmp_path / name, sample_rate=rate, start=0.125, duration=0.25)
    torch.testing.assert_close(part, heard[rate // 8 : 3 * rate // 8])
    [item] = find_items([str(tmp_path)], Counts("recordings"), "raise")
    assert item.row.audio.name == name


def test_a_manifest_says_which_channel_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    row = {"audio": "a.wav", "text": "a\u2028b\x85", "channel": 1}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    [found] = read_manifest(path)
    assert (found.channel, found.text) == (1, "a\u2028b\x85")
    path.write_text('{"audio": "a.wav", "text": "a", "channel": "left"}\n')
    with pytest.raises(InputError, match=r"m\.jsonl:1: channel 'left' is no number from 0"):
        read_manifest(path)


def test_a_part_of_a_recording_is_read(tmp_path: Path) -> None:
    samples = np.linspace(-0.9, 0.9, 16000)
    path = write(tmp_path / "a.wav", samples)
    part = read_audio(path, sample_rate=16000, start=0.25, duration=0.5)
    torch.testing.assert_close(
        part, torch.from_numpy(samples[4000:12000]).float(), atol=1e-4, rtol=0
    )


def test_bad_recordings_are_named_with_the_reason(tmp_path: Path) -> None:
    good = write(tmp_path / "good.wav", tone(0.5, 16000, 440))
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no recording")
    write(tmp_path / "none.wav", np.zeros(0))
    values = np.zeros(100, dtype=np.float32)
    values[3] = np.nan
    soundfile.write(tmp_path / "nan.wav", values, 16000, subtype="FLOAT")
    for name, reason in {
        "missing.wav": "there is no such file",
        "empty.wav": "the file is empty",
        "text.wav": "not a recording that libsndfile can read",
        "none.wav": "no samples",
        "nan.wav": "not finite",
    }.items():
        with pytest.raises(AudioError, match=f"{name}: .*{reason}"):
            read_audio(tmp_path / name, sample_rate=16000)
    with pytest.raises(AudioError, match="start 2 s is behind its end \\(0.5 s\\)"):
        read_audio(good, sample_rate=16000, start=2.0)


@pytest.mark.parametrize("name", ["train.jsonl", "train.csv"])
def test_a_manifest_is_read_with_paths_from_its_folder(name: str, make_manifest: Make) -> None:
    path = make_manifest(name)
    rows = read_manifest(path)
    assert [row.text for row in rows] == ["ab", "ba b", "a", "bb", "abba", "baa"]
    assert rows[1].audio == path.parent / "audio" / "train_1.wav"
    assert rows[1].speaker == "b"
    assert rows[1].where == f"{path}:{2 if name.endswith('jsonl') else 3}"


def test_bad_rows_are_named_by_file_and_row(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    good = '{"audio": "a.wav", "text": "a"}\n'
    for line, reason in {
        "nonsense": "is not JSON",
        "[]": "the row is no JSON object",
        '{"audio": "a.wav", "text": "a", "offse": 3}': "the column 'offse' is not known .*ignore",
        '{"audio": "a.wav", "text": "a", "start": 1, "offset": 3}': "'offset' is the second column",
        '{"text": "a"}': "the row has no audio",
        '{"audio": "a.wav"}': "a.wav has no text",
        '{"audio": "a.wav", "text": "a", "start": "x"}': "start 'x' is not a number",
        '{"audio": "a.wav", "text": "a", "duration": 0}': "duration 0 is no possible",
    }.items():
        path.write_text(good + line + "\n")
        with pytest.raises(InputError, match=f"m.jsonl:2: {reason}"):
            read_manifest(path)
    with pytest.raises(UserError, match=r"is no manifest; give one of .jsonl, .json, .csv"):
        read_manifest(tmp_path / "m.txt")


PUBLISHED = {
    # file: contents, below {audio} the recordings lie
    "nemo.json": '{"audio_filepath": "clips/a.wav", "text": "ab", "offset": 0.1, "duration": 0.3}\n',
    "list.json": '[{"file_name": "clips/a.wav", "transcription": "ab", "offset": 0.1, "duration": 0.3}]',
    "voice.tsv": "client_id\tpath\tsentence\tup_votes\toffset\tduration\ns\ta.wav\tab\t2\t0.1\t0.3\n",
    "other.csv": "clip;words;begin;duration;note\na.wav;ab;0.1;0.3;x\n",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    soundfile.write(tmp_path / "clips/a.wav", tone(0.5, 16000, 200), 16000)
    path = tmp_path / name
    path.write_text(PUBLISHED[name], encoding="utf-8-sig")
    columns = {"clip": "audio", "words": "text", "begin": "start", "note": "ignore"}
    if name == "other.csv":
        with pytest.raises(InputError, match=r"the column 'clip' is not known"):
            read_manifest(path)
    [row] = read_manifest(path, columns=columns if name == "other.csv" else None)
    assert (row.audio, row.text) == (tmp_path / "clips/a.wav", "ab")
    assert (row.start, row.duration) == (0.1, 0.3)
    with pytest.raises(UserError, match=r"columns: 'clip' cannot be 'sound'"):
        read_manifest(path, columns={"clip": "sound"})


def test_ljspeech_is_read(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    soundfile.write(tmp_path / "wavs/LJ1.wav", tone(0.5, 16000, 200), 16000)
    (tmp_path / "metadata.csv").write_text('LJ1|Dr. "B|Doctor "B\nLJ2|only this\n')
    one, two = read_manifest(tmp_path / "metadata.csv")
    assert (one.audio, one.text) == (tmp_path / "wavs/LJ1.wav", 'Doctor "B')
    assert two.text == "only this"
    assert find_manifests(tmp_path) == {"train": tmp_path / "metadata.csv"}


def test_kaldi_is_read_and_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    soundfile.write(folder / "r.wav", tone(0.5, 16000, 200), 16000)
    (folder / "wav.scp").write_text(f"rec1 {folder / 'r.wav'}\nrec2 touch {tmp_path / 'x'} |\n")
    (folder / "text").write_text("u1 a b\nu2 b\n")
    (folder / "utt2spk").write_text("u1 ann\n")
    (folder / "segments").write_text("u1 rec1 0.1 0.4\nu2 rec2 0 1\n")
    invalid = InvalidItems("skip")
    [row] = read_manifest(folder, invalid)
    assert (row.text, row.speaker, row.start) == ("a b", "ann", 0.1)
    assert row.duration == pytest.approx(0.3)
    assert "has a command for rec2, which is never run" in invalid.errors[0].reason
    assert not (tmp_path / "x").exists()
    assert find_manifests(tmp_path) == {"train": folder}


def test_a_stretch_that_is_longer_than_its_recording_is_refused(make_manifest: Make) -> None:
    path = make_manifest()
    row = {"audio": "audio/train_0.wav", "text": "ab"}
    write_manifest(path, [row, {**row, "duration": 5}])
    with pytest.raises(InputError, match=r":2: .*0 s and 5 s more end behind its end \(0\.8 s\)"):
        SpeechManifest(path=str(path), val=1).setup()
    write_manifest(path, [row, {**row, "duration": 0.85}] * 3)  # rounded
    SpeechManifest(path=str(path), val=0).setup()


def test_splits_share_no_text_and_no_speaker(make_manifest: Make) -> None:
    path = make_manifest(texts=("ab", "AB ", "ba", "b", "ab", "ba") * 3)
    for kind, names in (("text", {"ab", "ba", "b"}), ("speaker", {"a", "b"})):
        data = SpeechManifest(path=str(path), val=3, split_by=kind)
        data.setup()
        sides = [
            {data._group(row) for row in part.rows}
            for part in (data.train_set, data.val_set)  # pyright: ignore
        ]
        assert sides[0].isdisjoint(sides[1])
        assert sides[0] | sides[1] == names
        assert len(data.val_set) >= 3  # pyright: ignore


def test_rows_that_cannot_be_learned_stop_or_are_counted(
    make_manifest: Make, tmp_path: Path, caplog
) -> None:
    path = make_manifest()
    rows = [
        {"audio": f"audio/train_{n}.wav", "text": text}
        for n, text in enumerate(("ab", "ba", "aab", "bba", "abba"))
    ]
    bad = [
        {"audio": "audio/gone.wav", "text": "a"},
        {"audio": "audio/train_0.wav", "text": "ab" * 60},
        {"audio": "audio/train_0.wav", "text": "b", "start": 9},
    ]
    write_manifest(path, [*rows, *bad])
    (tmp_path / "val.jsonl").write_text('{"audio": "audio/train_1.wav", "text": "abé"}\n')
    with pytest.raises(
        InputError, match=r"train.jsonl:6: .*gone.wav: there is no such file; remove"
    ):
        SpeechManifest(path=str(path)).setup()
    data = SpeechManifest(path=str(path), val=2, on_invalid="skip")
    with caplog.at_level(logging.WARNING):
        data.use(listener("ab"))
    reasons = [error.reason for error in data.invalid.errors]
    assert reasons[:2] == ["there is no such file", "start 9 s is behind its end (0.8 s)"]
    assert "its text needs 120 tokens of speech and 0.80 s of audio give 20" in reasons[2]
    assert len(data.train_set) + len(data.val_set) == 5  # pyright: ignore
    assert "skipped 3 of 8 utterances" in caplog.text
    write_manifest(path, rows)
    data = SpeechManifest(path=str(tmp_path))
    with pytest.raises(InputError, match=r"val.jsonl:1: .*tokens that the model does not know: é"):
        data.use(listener("ab"))
    assert set("".join(SpeechManifest(path=str(tmp_path)).texts())) == {"a", "b"}


def test_a_model_says_what_its_data_are(make_manifest: Make) -> None:
    data = SpeechManifest(path=str(make_manifest()), val=1)
    data.setup()
    with pytest.raises(UserError, match=r"no model hears these recordings yet; call use\(model\)"):
        _ = data.train_set[0]  # pyright: ignore
    model = listener(" ab", rate=8000)
    data.use(model)
    batch = next(iter(data.train_dataloader()))
    for item, length in enumerate(batch.lengths.tolist()):
        assert batch.inputs[item, length:].abs().sum() == 0
    assert 6400 <= int(batch.lengths.min()) < 6500
    said = [
        model.tokenizer.decode(row[:length].tolist())
        for row, length in zip(batch.targets, batch.target_lengths, strict=True)
    ]
    texts = dict(zip((row.where for row in data.train_set.rows), data.texts(), strict=True))  # pyright: ignore
    assert said == [texts[name.partition(": ")[0]] for name in batch.names]
    assert set(batch.speakers) <= {"a", "b"}


def test_digit_strings_are_drawn_anew_in_training_and_fixed_in_the_test(digits: Path) -> None:
    def make(**options) -> DigitStrings:
        data = DigitStrings(
            path=str(digits), strings=6, val_strings=4, test_strings=5, digits=(2, 4), **options,
        )  # fmt: skip
        data.use(listener(" ".join(NAMES), rate=8000, unit="words"))
        return data

    one, two = make(seed=1), make(seed=2)
    for first, second in zip(one.test_dataloader(), two.test_dataloader(), strict=True):
        assert torch.equal(first.inputs, second.inputs)
        assert torch.equal(first.targets, second.targets)
    counts = [len(item.targets) for item in (one.test_set[i] for i in range(5))]  # pyright: ignore
    assert counts == [2, 3, 4, 2, 3]
    epochs = [one.seeded(one.train_set)[epoch, 0] for epoch in (0, 0, 1)]  # pyright: ignore
    assert torch.equal(epochs[0].waveform, epochs[1].waveform)
    assert epochs[0].waveform.shape != epochs[2].waveform.shape
    # No recording is in two splits, and a string has one speaker.
    files = {}
    for split in ("train", "val", "test"):
        speakers = getattr(one, f"{split}_set").speakers
        files[split] = {
            file.name for s in speakers.values() for part in s.values() for file in part
        }
    assert {name.split("_")[2] for name in files["test"]} == {"0.wav"}
    assert {name.split("_")[2] for name in files["val"]} == {"5.wav"}
    assert {name.split("_")[2] for name in files["train"]} == {"10.wav"}


def test_a_string_is_the_recordings_with_faint_silences_between(digits: Path) -> None:
    data = DigitStrings(path=str(digits), strings=2, val_strings=1, test_strings=1)
    data.setup()
    waveform, text = data.test_set.recording(0, 8000)[:2]  # pyright: ignore
    loud = waveform.unfold(0, 80, 80).square().mean(1).sqrt() > 0.05
    starts = (loud[1:] & ~loud[:-1]).sum()
    assert starts == len(text.split()) == 3
    assert 0 < waveform[:400].abs().max() < 0.02
    held = DigitStrings(path=str(digits), held_out=["bob"])
    held.setup()
    speakers = {
        split: set(getattr(held, f"{split}_set").speakers) for split in ("train", "val", "test")
    }
    assert speakers == {"train": {"ann"}, "val": {"ann"}, "test": {"bob"}}
    with pytest.raises(UserError, match="has no speaker carl; it has ann, bob"):
        DigitStrings(path=str(digits), held_out=["carl"]).setup()
    with pytest.raises(UserError, match="there is no folder"):
        DigitStrings(path=str(digits / "no")).setup()
    for file in digits.glob("*_0.wav"):
        file.unlink()
    with pytest.raises(
        UserError, match="no recordings for test; they are named DIGIT_SPEAKER_INDEX"
    ):
        DigitStrings(path=str(digits)).setup()


def test_a_manifest_without_a_row_that_can_be_used_is_one_line(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [{"audio": "a\nb.wav", "text": "ab"}])
    with pytest.raises(UserError, match=r"a b\.wav: there is no such file") as error:
        SpeechManifest(path=str(tmp_path / "m.jsonl"), val=0).setup()
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="the train split has no recordings that can be used"):
        SpeechManifest(path=str(tmp_path / "m.jsonl"), val=0, on_invalid="skip").setup()
