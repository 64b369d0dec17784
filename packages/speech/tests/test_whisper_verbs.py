"""Whisper through the program: recordings, files of transcripts, fine-tuning."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import small_whisper as small
import soundfile
import torch
from spoken import tone

from headway.core.cli.main import main
from headway.speech.models import Whisper, WhisperSearch, pretrained
from headway.speech.verbs.subtitles import srt, vtt

Make = Callable[..., Path]
GREEDY = ["--temperatures", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whisper")
    small.make_whisper(place)
    return place


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("english")
    small.make_whisper(place, multilingual=False)
    return place


def recording(path: Path, seconds: float, seed: int = 0) -> Path:
    soundfile.write(path, tone(seconds, 16000, 300 + 50 * seed, seed), 16000)
    return path


def test_files_of_transcripts_say_the_same(folder: Path, tmp_path: Path, capsys) -> None:
    long = recording(tmp_path / "long.wav", 2.6)
    words = ["transcribe", "-m", str(folder), str(long), "--language", "fr", *GREEDY]
    for ending in ("json", "srt", "vtt", "csv", "jsonl"):
        out = tmp_path / f"t.{ending}"
        assert main([*words, "--word-timestamps", "-o", str(out)]) == 0
    [said] = json.loads((tmp_path / "t.json").read_text())
    assert said["language"] == "fr"
    assert {"log_prob", "silence", "compression", "temperature"} <= said["scores"].keys()
    assert said["segments"]
    assert " ".join(part["text"] for part in said["segments"]) == said["text"]
    assert (tmp_path / "t.srt").read_text().count(" --> ") == len(said["segments"])
    assert (tmp_path / "t.vtt").read_text().startswith("WEBVTT\n")
    model = pretrained(str(folder)).eval()
    assert isinstance(model, Whisper)
    samples, _ = soundfile.read(long, dtype="float32")
    search = WhisperSearch(language="fr", temperatures=(0.0,), words=True)
    [heard] = model.hear(torch.from_numpy(samples)[None], search=search)
    assert "".join(srt(heard.segments)) == (tmp_path / "t.srt").read_text()
    assert "".join(vtt(heard.segments)) == (tmp_path / "t.vtt").read_text()
    other = recording(tmp_path / "other.wav", 0.5)
    words.insert(3, str(other))
    assert main([*words, "-o", str(tmp_path / "two.srt")]) == 2
    assert ".srt takes one recording and there are 2" in capsys.readouterr().err


def test_what_a_model_cannot_be_told_is_refused(
    folder: Path, english: Path, tmp_path: Path, capsys
) -> None:
    sound = str(recording(tmp_path / "a.wav", 0.4))
    assert main(["transcribe", "-m", str(folder), sound, "--language", "xx"]) == 2
    assert "knows no language 'xx'; it has de, en, fr" in capsys.readouterr().err
    assert main(["transcribe", "-m", str(english), sound, "--task", "translate"]) == 2
    assert "writes English alone" in capsys.readouterr().err
    assert main(["transcribe", "-m", str(english), sound, *GREEDY, "--no-timestamps"]) == 0
    assert main(["transcribe", "-m", str(english), sound, "--hot-words", "ab", "--beam", "2"]) == 2
    assert "guided by no language model and no hot words" in capsys.readouterr().err


def test_errors_of_a_manifest_are_counted(
    english: Path, make_manifest: Make, tmp_path: Path, capsys
) -> None:
    manifest = make_manifest()
    out = tmp_path / "t.jsonl"
    words = ["transcribe", "-m", str(english), str(manifest), "-o", str(out), *GREEDY]
    assert main([*words, "--json", "--normalise", "plain"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["wer"]["reference"] == 7
    assert told["cer"]["rate"] > 0
    assert main([*words, "--overwrite"]) == 0
    assert "substitutions" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["full", "lora"])
def test_whisper_is_fine_tuned(
    form: str, english: Path, make_manifest: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    manifest = make_manifest()
    words = [
        "fit",
        "-c",
        "speech/finetune_whisper",
        "--data.path",
        str(manifest),
        "--data.val",
        "2",
    ]
    words += ["--model.backbone.source", str(english), "--trainer.max_steps", "2"]
    words += ["--data.test", "1", "--model.schedule", "null", "--trainer.accelerator", "cpu"]
    words += ["--model.finetune", "null"] if form == "full" else []
    assert main(words) == 0
    run = tmp_path / "runs" / "speech" / "finetune_whisper" / "1"
    base, tuned = pretrained(str(english)).state_dict(), pretrained(str(run)).state_dict()
    moved = {name for name in base if not torch.equal(base[name], tuned[name])}
    assert moved
    learned = ("qkv.weight", "function.q.weight", "kv.weight", "head.weight", "embedding.weight")
    assert form == "full" or all(name.endswith(learned) for name in moved)
    assert "encoder.position" not in moved
    assert (
        main(["transcribe", "-m", str(run), str(manifest), "-o", str(tmp_path / "t.csv"), *GREEDY])
        == 0
    )
    assert main(["test", "-m", str(run)]) == 0


def test_the_loss_is_the_entropy_of_text_and_end_after_the_prompt(folder: Path) -> None:
    from headway.core.errors import UserError
    from headway.speech.batch import SpeechBatch

    model = pretrained(str(folder)).eval()
    assert isinstance(model, Whisper)
    inputs, end = small.features(0, 2).transpose(1, 2), small.NUMBERS["<|endoftext|>"]
    targets, lengths = torch.tensor([[0, 1, 2], [4, 0, 0]]), torch.tensor([3, 1])
    steps = torch.full((2,), small.FRAMES)
    batch = SpeechBatch(inputs, steps, targets, lengths, languages=("de", "fr"))
    total, count = 0.0, 0
    model.requires_grad_(False)
    for place, (language, row) in enumerate((("de", [0, 1, 2]), ("fr", [4]))):
        prompt = model.marks.prompt(language=language, task="transcribe", timestamps=False)
        logits = model(inputs[place : place + 1], torch.tensor([[*prompt, *row]]))[0]
        shares = logits[len(prompt) - 1 :].log_softmax(-1)
        total -= float(shares[range(len(row) + 1), [*row, end]].sum())
        count += len(row) + 1
    assert float(model.loss(batch)["loss"]) == pytest.approx(total / count, rel=1e-5)
    with pytest.raises(UserError, match="told the language"):
        model.loss(batch._replace(languages=()))
    with pytest.raises(UserError, match="keeps them"):
        model.begin_vocabulary("characters")
