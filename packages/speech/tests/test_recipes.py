"""Every recipe trains, its run goes through the verbs, and what is wrong is said in one line."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from models.test_conformer_parity import saved, tiny
from spoken import tone, write_manifest

import headway.speech
from headway.core.cli.main import main
from headway.core.language import SPECIALS, DecoderLanguageModel, SymbolTokenizer
from headway.core.weights import from_pretrained, save_pretrained
from headway.speech.data.audio import read_audio
from headway.speech.front_ends import KaldiFbank
from headway.speech.models import DASpeech, pretrained

Make = Callable[..., Path]
QUICK = ["--trainer.max_steps", "2", "--model.schedule", "null", "--trainer.accelerator", "cpu"]
NARROW = ["--model.backbone.encoder.dim", "16", "--model.backbone.encoder.depth", "1"]
FEW = ["--data.strings", "8", "--data.val_strings", "2", "--data.test_strings", "2"]
RECIPES = sorted(
    path.stem for path in (Path(headway.speech.__file__).parent / "recipes").glob("*.yaml")
)


@pytest.fixture(autouse=True)
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))


def runs(tmp_path: Path, recipe: str) -> list[Path]:
    return list((tmp_path / "runs" / "speech" / recipe).glob("*"))


def fit(tmp_path: Path, recipe: str, *words: str) -> Path:
    before = set(runs(tmp_path, recipe))
    assert main(["fit", "-c", f"speech/{recipe}", *QUICK, *words]) == 0
    [run] = set(runs(tmp_path, recipe)) - before
    return run


@pytest.fixture(scope="module")
def trained(shared_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the digits that nothing changes."""
    folder = tmp_path_factory.mktemp("trained")
    words = ["--data.path", str(shared_digits), "--runs", str(folder)]
    assert main(["fit", "-c", "speech/conformer_digits", *QUICK, *NARROW, *FEW, *words]) == 0
    return folder / "speech" / "conformer_digits" / "1"


def fit_digits(tmp_path: Path, digits: Path, *words: str) -> Path:
    return fit(tmp_path, "conformer_digits", "--data.path", str(digits), *NARROW, *FEW, *words)


def finetune(tmp_path: Path, source: Path, manifest: Path, *words: str) -> Path:
    model = ["--model.backbone.source", str(source), "--data.val", "2"]
    return fit(tmp_path, "finetune", "--data.path", str(manifest), *model, *words)


def test_no_recipe_is_forgotten_here() -> None:
    assert RECIPES == [
        "asit_digits",
        "ast_digits",
        "conformer",
        "conformer_digits",
        "ctc_attention",
        "da_digits",
        "daspeech_digits",
        "ditar",
        "fast_speech",
        "fast_speech_phonemes",
        "finetune",
        "finetune_whisper",
        "hifi_gan",
        "hifi_sr",
        "paraformer",
        "petl_ast_digits",
        "rnnt",
        "small_e",
        "speechformer_digits",
        "streaming_digits",
        "tdt",
        "tera",
    ]


def test_the_digits_train_and_their_run_transcribes(
    tmp_path: Path, trained: Path, digits: Path, capsys
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    model = pretrained(str(run))
    vocabulary = set(model.tokenizer.vocabulary)
    assert model.tokenizer.vocabulary[:4] == ("<blank>", "eight", "five", "four")
    assert isinstance(model.front_end, KaldiFbank)
    assert (model.front_end.sample_rate, model.front_end.complete) == (8000, True)
    assert (run / "pictures" / "val_transcription.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test_wer"] >= 0
    assert (run / "pictures" / "test_transcription.png").is_file()
    out = tmp_path / "t.csv"
    words = ["transcribe", "-m", str(run), str(digits), "-o", str(out), "--batch-size", "32"]
    file = str(digits / "1_ann_0.wav")
    assert main(words) == 0
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 60
    assert all(set(row["text"].split()) <= vocabulary for row in rows)
    assert all(0 <= float(row["confidence"]) <= 1 for row in rows)
    assert main(words) == 2  # the result is there
    # Alone, a recording gives what it gave among others.
    again = tmp_path / "one.jsonl"
    plots = tmp_path / "plots"
    one = ["transcribe", "-m", str(run), file, "-o", str(again), "--plot", str(plots)]
    assert main(one) == 0
    assert (plots / "0000_1_ann_0.png").read_bytes().startswith(b"\x89PNG")
    [alone] = [json.loads(line) for line in again.read_text().splitlines()]
    [among] = [row for row in rows if row["file"] == file]
    assert alone["text"] == among["text"]
    assert alone["confidence"] == pytest.approx(float(among["confidence"]), abs=1e-5)


def test_digits_are_heard_and_said_in_turn(tmp_path: Path, digits: Path, capsys) -> None:
    small = ["--model.backbone.voice.dim", "8", "--model.backbone.voice_dim", "8", *NARROW, *FEW]
    words = ["--data.path", str(digits), "--data.answered_by"]
    run = str(fit(tmp_path, "daspeech_digits", *words, "ann", *small))
    file, out = digits / "7_ann_0.wav", tmp_path / "t.csv"
    assert main(["transcribe", "-m", run, str(file), "-o", str(out)]) == 0
    model = pretrained(run).eval()
    assert isinstance(model, DASpeech)
    sound = read_audio(file, sample_rate=8000)
    spoken = model.answer(sound[None])
    assert spoken.features.shape == (1, int(spoken.lengths[0]), 64)
    assert spoken.durations is not None
    assert int(spoken.durations.sum()) == int(spoken.lengths[0])
    capsys.readouterr()
    wrong = ["fit", "-c", "speech/daspeech_digits", *QUICK, *words, "nobody", *small]
    assert main(wrong) == 2
    assert "answered_by is 'nobody'" in capsys.readouterr().err


def test_a_graph_of_digits_trains_and_its_run_transcribes(
    tmp_path: Path, digits: Path, capsys
) -> None:
    run = str(fit(tmp_path, "da_digits", "--data.path", str(digits), *NARROW, *FEW))
    assert main(["test", "-m", run]) == 0
    out, files = tmp_path / "t.csv", [str(digits / f"{n}_ann_0.wav") for n in range(4)]
    words = ["transcribe", "-m", run, *files, "-o", str(out)]
    assert main(words) == 0
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 4
    vocabulary = set(pretrained(run).tokenizer.vocabulary)
    assert vocabulary > {"<pad>", "<start>", "<end>", "eight"}
    assert all(set(row["text"].split()) <= vocabulary for row in rows)
    capsys.readouterr()
    assert main([*words, "--overwrite", "--beam", "3"]) == 2
    assert "leave beam at 1" in capsys.readouterr().err


def test_streaming_digits_train_and_their_run_streams(
    tmp_path: Path, digits: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = ["--model.backbone.encoder.depth", "3"]
    words = ["--data.path", str(digits), "--model.backbone.encoder.dim", "16", *depth, *FEW]
    run = str(fit(tmp_path, "streaming_digits", *words))
    file, out = str(digits / "7_ann_0.wav"), tmp_path / "whole.jsonl"
    assert main(["transcribe", "-m", run, file, "-o", str(out)]) == 0
    [whole] = [json.loads(line) for line in out.read_text().splitlines()]
    for name, more in {"a.csv": [], "b.csv": ["0.03"], "c.csv": ["--context", "1,16"]}.items():
        capsys.readouterr()
        out = tmp_path / name
        assert main(["transcribe", "-m", run, file, "-o", str(out), "--stream", *more]) == 0
        [row] = list(csv.DictReader(out.open()))
        # Four tokens of 80 ms, or one: the hops to the last one, and its window.
        assert float(row["latency"]) == pytest.approx(0.025 if name == "c.csv" else 0.265)
        assert float(row["chunk_rtf"]) > 0
        if name != "c.csv":
            assert row["text"] == whole["text"]
            assert float(row["confidence"]) == pytest.approx(whole["confidence"], abs=1e-5)
        assert bool(row["text"]) == (" s  " in capsys.readouterr().err)
    samples, _ = soundfile.read(file, dtype="int16")
    for sound, code in ((samples.tobytes(), 0), (b"", 2)):
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(sound)))
        assert main(["transcribe", "-m", run, "-", "--stream", "--json"]) == code
        told = capsys.readouterr()
        if code:
            assert "no samples came" in told.err
            continue
        [row] = json.loads(told.out)["rows"]
        assert (row["file"], row["text"]) == ("-", whole["text"])
        assert float(row["duration"]) == pytest.approx(len(samples) / 8000, abs=1e-3)
    model = pretrained(run).eval()
    stream = model.stream()
    for piece in read_audio(digits / "7_ann_0.wav", sample_rate=8000).split(301):
        stream.push(piece)
    assert stream.finish().text == whole["text"]
    for words, said in {
        ("--context", "1,16"): "--context is for --stream",
        ("--stream", "0"): "--stream 0 lies between",
        ("--stream", "--context", "2"): "two whole numbers",
        ("--stream", "--cut", "3"): "--speech-only are for whole recordings",
        ("--stream", "--beam", "4"): "leave beam out",
    }.items():
        assert main(["transcribe", "-m", run, file, *words]) == 2
        assert said in capsys.readouterr().err


def test_digits_train_over_every_frame_and_their_run_transcribes(
    tmp_path: Path, digits: Path, capsys
) -> None:
    narrow = [f"--model.backbone.encoder.{name}" for name in ("dim", "depth", "lower_depth")]
    narrow = [word for pair in zip(narrow, ("16", "1", "1"), strict=True) for word in pair]
    warm = ["--model.backbone.encoder.compression.warmup", "1"]
    run = str(
        fit(tmp_path, "speechformer_digits", "--data.path", str(digits), *narrow, *warm, *FEW)
    )
    out = tmp_path / "heard.csv"
    assert main(["transcribe", "-m", run, str(digits / "7_ann_0.wav"), "-o", str(out)]) == 0
    assert len(list(csv.DictReader(out.open()))) == 1
    encoder = pretrained(run).encoder
    assert encoder.compression.head.classifier.out_features == 11
    assert int(encoder.compression.passes) == 2


def test_what_hears_whole_recordings_says_so_before_it_streams(
    trained: Path, digits: Path, capsys
) -> None:
    file = str(digits / "7_ann_0.wav")
    assert main(["transcribe", "-m", str(trained), file, "--stream"]) == 2
    said = capsys.readouterr().err
    assert "blocks.0.mixer.function (SelfAttention) looks at what comes later" in said


def test_a_continued_run_equals_an_unbroken_one(tmp_path: Path, digits: Path) -> None:
    words = ["--data.batch_size", "4", "--trainer.max_epochs", "2", "--trainer.max_steps", "-1"]
    unbroken = fit_digits(tmp_path, digits, *words)
    broken = fit_digits(tmp_path, digits, *words, "--trainer.max_epochs", "1")
    assert main(["fit", "--resume", str(broken), "--trainer.max_epochs", "2"]) == 0
    weights = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in (unbroken, broken)
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


MIXERS = {
    "SelfAttention": {},
    "PoolingMixer": {},
    "ConvolutionMixer": {"axes": 1},
    "ProbSparseAttention": {},
    # It has no scores that the relative term could be added to.
    "LinearAttention": {"position": "headway.core.positions.Rotary"},
}


@pytest.mark.parametrize("mixer", MIXERS)
def test_any_mixer_from_yaml(mixer: str, tmp_path: Path, digits: Path) -> None:
    config = tmp_path / "mixer.yaml"
    wanted = {"class_path": f"headway.core.mixers.{mixer}", "init_args": MIXERS[mixer]}
    encoder = {"init_args": {"mixer": wanted}}
    backbone = {"init_args": {"encoder": encoder}}
    config.write_text(yaml.safe_dump({"model": {"init_args": {"backbone": backbone}}}))
    words = ["fit", "-c", "speech/conformer_digits", "-c", str(config), "--data.path", str(digits)]
    assert main([*words, *QUICK, *NARROW, *FEW]) == 0
    model = from_pretrained(tmp_path / "runs" / "mixer" / "1")
    assert type(model.encoder.encoder.blocks[0].mixer.function).__name__ == mixer
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_a_mixer_that_takes_no_padding_and_one_that_is_none_are_refused(
    tmp_path: Path, digits: Path, capsys
) -> None:
    words = ["fit", "-c", "speech/conformer_digits", "--data.path", str(digits), *QUICK, *FEW]
    key = "--model.backbone.encoder.mixer"
    assert main([*words, key, "headway.core.mixers.FourierMixer"]) == 2
    assert "FourierMixer does not support lengths" in capsys.readouterr().err
    assert main([*words, key, "headway.core.norms.LayerNorm"]) == 2
    assert "mixer" in capsys.readouterr().err
    assert runs(tmp_path, "conformer_digits") == []


@pytest.mark.parametrize("form", ["full", "lora"])
@pytest.mark.parametrize("kind", ["own", "published"])
def test_fine_tuning_with_another_vocabulary(
    kind: str, form: str, tmp_path: Path, trained: Path, make_manifest: Make, capsys
) -> None:
    manifest = make_manifest()
    source = trained if kind == "own" else saved(tiny(), tmp_path / "hf")
    lora = ["--model.finetune", "LoRA", "--model.finetune.rank", "2"] if form == "lora" else []
    words = ["--model.backbone.new_vocabulary", "characters", *lora]
    run = finetune(tmp_path, source, manifest, *words)
    base, tuned = pretrained(str(source)), pretrained(str(run))
    assert tuned.tokenizer.vocabulary == ("<blank>", " ", "a", "b")
    # Features are those that the weights were trained on.
    assert tuned.front_end.init_args == base.front_end.init_args
    before, after = base.state_dict(), tuned.state_dict()
    moved = {
        n for n, v in before.items() if v.shape != after[n].shape or not torch.equal(v, after[n])
    }
    if form == "lora":
        parts = ("qkv.weight", "head.classifier.weight", "head.classifier.bias")
        learned = {name for name in moved if "running" not in name and "tracked" not in name}
        assert learned
        assert all(name.endswith(parts) for name in learned)
        assert (run / "adapter").is_dir()
    else:
        assert "encoder.stem.projection.weight" in moved
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "3"]) == 0
    out = tmp_path / "t.jsonl"
    assert main(["transcribe", "-m", str(run), str(manifest), "-o", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["reference"] for row in rows] == ["ab", "ba b", "a", "bb", "abba", "baa"]
    assert all(set(row["text"]) <= set("ab ") for row in rows)


def test_the_old_vocabulary_is_kept_where_no_new_one_is_asked_for(
    tmp_path: Path, make_manifest: Make, capsys
) -> None:
    source = saved(tiny(), tmp_path / "hf")
    run = finetune(tmp_path, source, make_manifest(texts=("ab", "ba z", "a", "bb", "abba", "baa")))
    tokenizer = pretrained(str(run)).tokenizer
    assert tokenizer.vocabulary == ("<pad>", "<unk>", " ", *"ABCDEFZ")  # what it lacked, behind
    assert tokenizer.init_args["case"] == "upper"
    bare = saved(tiny(), tmp_path / "bare", vocabulary=False)
    words = ["--model.backbone.source", str(bare), "--data.path", str(tmp_path / "train.jsonl")]
    assert main(["fit", "-c", "speech/finetune", *QUICK, *words]) == 2
    assert "the model came without a tokenizer" in capsys.readouterr().err
    out = str(tmp_path / "t.csv")
    assert main(["transcribe", "-m", str(bare), str(tmp_path / "audio"), "-o", out]) == 2
    assert "does not say what its tokens mean" in capsys.readouterr().err


def test_bad_recordings_stop_or_are_counted_or_kept(tmp_path: Path, trained: Path, capsys) -> None:
    run = trained
    folder = tmp_path / "mixed"
    folder.mkdir()
    soundfile.write(folder / "a.wav", tone(0.5, 44100, 300), 44100)
    soundfile.write(folder / "short.wav", tone(0.01, 8000, 300), 8000)
    (folder / "b.wav").write_text("no recording")
    (folder / "notes.txt").write_text("nothing")
    words = ["transcribe", "-m", str(run), str(folder)]
    capsys.readouterr()
    assert main([*words, "-o", str(tmp_path / "1.csv")]) == 2
    said = capsys.readouterr().err
    assert "b.wav: not a recording that libsndfile can read; remove it or use --on-invalid" in said
    assert not (tmp_path / "1.csv").exists()
    out = tmp_path / "2.csv"
    assert main([*words, "-o", str(out), "--on-invalid", "skip"]) == 0
    said = capsys.readouterr().err
    assert (
        f"1 transcriptions written to {out}, 2 recordings not read, 1 other files ignored" in said
    )
    assert len(list(csv.DictReader(out.open()))) == 1
    assert main([*words, "-o", str(out), "--on-invalid", "keep", "--overwrite"]) == 0
    kept = list(csv.DictReader(out.open()))
    assert [bool(row["error"]) for row in kept] == [False, True, True]
    assert main([*words, "-o", str(tmp_path / "t.txt")]) == 2
    assert "is of no kind that is written" in capsys.readouterr().err
    assert main(["transcribe", "-m", str(run), str(tmp_path / "gone.wav")]) == 2
    assert "gone.wav does not exist" in capsys.readouterr().err


def test_a_manifest_trains_from_scratch(tmp_path: Path, make_manifest: Make) -> None:
    words = ["--data.path", str(make_manifest()), "--data.val", "2", *NARROW]
    run = fit(tmp_path, "conformer", *words)
    out = tmp_path / "t.csv"
    assert main(["transcribe", "-m", str(run), str(tmp_path / "audio"), "-o", str(out)]) == 0
    assert len(list(csv.DictReader(out.open()))) == 6
    # Texts of fewer letters than it learned leave the model its vocabulary.
    other = make_manifest("other.jsonl", texts=("a", "aa", "aaa", "a a"))
    words = ["--data.path", str(other), "--data.val", "1", "--data.test", "1"]
    assert main(["test", "-m", str(run), *words]) == 0


@pytest.mark.parametrize("recipe", ["ctc_attention", "paraformer", "rnnt", "tdt"])
def test_other_recognisers_train_and_transcribe(
    recipe: str, tmp_path: Path, make_manifest: Make, capsys
) -> None:
    words = ["--data.path", str(make_manifest()), "--data.val", "1", "--data.test", "1"]
    run = fit(tmp_path, recipe, *words, *NARROW)
    audio = str(tmp_path / "audio")
    out = tmp_path / "t.csv"
    assert main(["transcribe", "-m", str(run), audio, "-o", str(out)]) == 0
    assert len(list(csv.DictReader(out.open()))) == 6
    assert main(["test", "-m", str(run), "--json"]) == 0
    capsys.readouterr()
    beam = ["transcribe", "-m", str(run), audio, "-o", str(tmp_path / "b.csv"), "--beam", "3"]
    hot = ["--hot-words", "ab", "ba"]
    model = pretrained(str(run))
    tokens = (*SPECIALS, *model.tokenizer.vocabulary[1:])
    letters = SymbolTokenizer(pattern=".", joint="", vocabulary=tokens)
    language = DecoderLanguageModel(tokenizer=letters, dim=8, depth=1, heads=2)
    save_pretrained(language, tmp_path / "language")
    hot += ["--language-model", str(tmp_path / "language"), "--language-weight", "0.2"]
    if recipe == "paraformer":
        assert main(beam) == 2
        assert "writes all tokens at once; leave beam at 1" in capsys.readouterr().err
    else:
        assert main([*beam, *hot]) == 0
    assert main(["transcribe", "-m", str(run), audio, "-o", str(tmp_path / "h.csv"), *hot]) == 2
    assert "need a beam of 2 or more" in capsys.readouterr().err


def test_a_bad_row_stops_before_training_and_leaves_no_run(
    tmp_path: Path, trained: Path, make_manifest: Make, capsys
) -> None:
    path = make_manifest()
    texts = ("ab", "ba", "abb", "baa", "aab", "bab")
    rows = [{"audio": f"audio/train_{n}.wav", "text": text} for n, text in enumerate(texts)]
    write_manifest(path, [*rows, {"audio": "audio/gone.wav", "text": "a"}])
    source = ["--model.backbone.source", str(trained)]
    words = [*source, "--model.backbone.new_vocabulary", "characters"]
    command = ["fit", "-c", "speech/finetune", "--data.path", str(path), *words, *QUICK]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "train.jsonl:7: " in said
    assert "there is no such file; remove it or set on_invalid to skip" in said
    assert runs(tmp_path, "finetune") == []
    assert main([*command, "--data.on_invalid", "skip"]) == 0


def test_a_voice_trains_speaks_and_aligns(tmp_path: Path, make_manifest: Make, capsys) -> None:
    small = ["--model.backbone.dim", "16", "--model.backbone.depth", "1"]
    small += ["--model.backbone.decoder_depth", "1", "--data.val", "2", "--data.test", "0"]
    manifest = make_manifest(texts=("ab", "ba b", "a", "bb", "abba", "baa"))
    run = fit(tmp_path, "fast_speech", "--data.path", str(manifest), *small)
    assert (run / "pictures" / "val_synthesis.png").read_bytes().startswith(b"\x89PNG")
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "3"]) == 0
    lines = tmp_path / "lines.txt"
    lines.write_text("ab ba\n\nb\u2028a\nxyz\n", encoding="utf-8")
    out = tmp_path / "spoken"
    capsys.readouterr()
    words = ["speak", "-m", str(run), "a b", str(lines), "-o", str(out), "--steps", "2"]
    assert main(words) == 2
    assert "lines.txt:4: 'xyz' has tokens that the model does not know: x y z" in (
        capsys.readouterr().err
    )
    assert main([*words, "--on-invalid", "skip", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert sorted(file.name for file in out.iterdir()) == ["0001.wav", "0002.wav", "0003.wav"]
    assert said["seconds"] == pytest.approx(
        sum(soundfile.info(file).duration for file in out.iterdir()), abs=1e-3
    )
    assert main([*words, "--on-invalid", "skip"]) == 2  # they are there
    one = ["speak", "-m", str(run), "ab", "-o", str(tmp_path / "one.wav"), "--steps", "2"]
    assert main(one) == 0
    slow = ["--speed", "0.5", "--overwrite"]
    before = soundfile.info(tmp_path / "one.wav").duration
    assert main([*one, *slow]) == 0
    assert soundfile.info(tmp_path / "one.wav").duration >= before
    assert main([*words[:3], "a", "b", "-o", str(tmp_path / "two.wav")]) == 2
    assert "2 texts do not go into one file" in capsys.readouterr().err
    table = tmp_path / "where.csv"
    plot = tmp_path / "where.png"
    command = ["align", "-m", str(run), str(manifest), "-o", str(table), "--plot", str(plot)]
    assert main(command) == 0
    rows = list(csv.DictReader(table.open()))
    assert "".join(row["token"] for row in rows) == "abba babbabbabaa"
    assert plot.read_bytes().startswith(b"\x89PNG")
    for one, two in pairwise(rows):
        if one["file"] == two["file"]:
            assert float(one["start"]) < float(one["end"]) == float(two["start"])
    source = ["-m", str(run), str(tmp_path / "audio")]
    assert main(["transcribe", *source, "-o", str(tmp_path / "t.csv")]) == 2
    assert "not a recogniser of speech" in capsys.readouterr().err


def test_an_encoder_learns_from_speech_alone_and_starts_a_recogniser(
    tmp_path: Path, make_manifest: Make
) -> None:
    manifest = make_manifest()
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    silent = tmp_path / "silent.jsonl"
    write_manifest(silent, [{"audio": row["audio"]} for row in rows])
    words = ["--data.path", str(silent), "--data.val", "2", *NARROW]
    run = fit(tmp_path, "tera", *words)
    key = "--model.backbone.encoder"
    source = [key, "headway.speech.models.pretrained_encoder", f"{key}.source", str(run)]
    tuned = fit(tmp_path, "conformer", "--data.path", str(manifest), "--data.val", "2", *source)
    first, then = from_pretrained(run), pretrained(str(tuned))
    assert type(first.encoder).__name__ == type(then.encoder).__name__ == "Conformer"
    assert first.encoder.init_args["dim"] == then.encoder.dim == 16


def test_a_classifier_learns_without_classes_and_then_with_them(
    tmp_path: Path, digits: Path
) -> None:
    few = ["--data.path", str(digits)]
    model = "--model.backbone"
    small = [
        f"{model}.classifier.dim",
        "16",
        f"{model}.classifier.depth",
        "1",
        f"{model}.hidden",
        "8",
    ]
    run = str(fit(tmp_path, "asit_digits", *few, *small))
    whole = [f"{model}.block", "null", "--model.finetune", "headway.core.finetune.Full"]
    found = fit(tmp_path, "petl_ast_digits", *few, f"{model}.source", run, *whole)
    assert from_pretrained(str(found)).classes == ("five", "six", "seven", "eight", "nine")


def test_a_voice_of_phonemes_reads_them_between_spaces(tmp_path: Path, make_manifest: Make) -> None:
    small = ["--model.backbone.dim", "16", "--model.backbone.depth", "1"]
    small += ["--model.backbone.decoder_depth", "1", "--data.val", "2", "--data.test", "0"]
    manifest = make_manifest(texts=("ei b | dʒ", "b | ei , dʒ", "dʒ | ei b", "b dʒ | ei"))
    run = fit(tmp_path, "fast_speech_phonemes", "--data.path", str(manifest), *small)
    out = tmp_path / "one.wav"
    assert main(["speak", "-m", str(run), "dʒ ei | b", "-o", str(out), "--steps", "2"]) == 0
    assert soundfile.info(out).frames > 0
    assert main(["speak", "-m", str(run), "dʒei", "-o", str(tmp_path / "two.wav")]) == 2


def test_a_vocoder_trains_speaks_and_renews_recordings(
    tmp_path: Path, make_manifest: Make, capsys
) -> None:
    manifest = make_manifest(rate=8000)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    silent = tmp_path / "silent.jsonl"
    write_manifest(silent, [{"audio": row["audio"]} for row in rows])
    words = ["--data.path", str(silent), "--data.val", "1", "--data.test", "1"]
    run = fit(tmp_path, "hifi_gan", *words, "--model.alone", "1", "--trainer.max_epochs", "4")
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "3"]) == 0
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test_spectral_loss"] > 0
    # Weights are folded in the copies that are used, not in the folder.
    saved_names = from_pretrained(run).state_dict()
    assert any("parametrizations" in name for name in saved_names)
    assert not any("looks" in name for name in saved_names)
    out = tmp_path / "again"
    renew = ["renew", "-m", str(run), str(tmp_path / "audio"), "-o", str(out)]
    assert main([*renew, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] > 0
    for row in rows:
        file = Path(row["audio"])
        before, after = soundfile.info(tmp_path / file), soundfile.info(out / file.name)
        assert (after.frames, after.samplerate) == (before.frames, before.samplerate)
    assert main(renew) == 2
    assert "exists" in capsys.readouterr().err
    parts = ["--cut", "1", "-o", str(tmp_path / "parts"), "--overwrite"]
    assert main([*renew[:4], *parts]) == 0
    voice = fit(
        tmp_path,
        "fast_speech",
        *["--data.path", str(manifest), "--data.val", "1", "--data.test", "0"],
        *["--model.backbone.dim", "16", "--model.backbone.depth", "1"],
        *["--model.backbone.decoder_depth", "1"],
    )
    sound = tmp_path / "one.wav"
    speak = ["speak", "-m", str(voice), "ab", "-o", str(sound), "--vocoder"]
    assert main([*speak, str(run)]) == 0
    assert soundfile.info(sound).frames % 100 == 0
    assert main([*speak, str(voice), "--overwrite"]) == 2
    assert "which is no vocoder" in capsys.readouterr().err
    assert main(["renew", "-m", str(voice), str(sound), "-o", str(tmp_path / "x")]) == 2
    assert "makes no sound of recordings" in capsys.readouterr().err


def test_recordings_get_the_frequencies_that_they_lack(
    tmp_path: Path, make_manifest: Make, capsys
) -> None:
    manifest = make_manifest(rate=8000)
    words = ["--data.path", str(manifest), "--data.val", "1", "--data.test", "1"]
    run = fit(tmp_path, "hifi_sr", *words, "--model.alone", "1")
    low = make_manifest("low.jsonl", rate=4000)
    out = tmp_path / "wide"
    assert main(["renew", "-m", str(run), str(low), "-o", str(out)]) == 0
    rows = [json.loads(line) for line in low.read_text().splitlines()]
    for row in rows:
        given, made = (
            soundfile.info(folder / Path(row["audio"]).name) for folder in (tmp_path / "audio", out)
        )
        assert (made.samplerate, made.frames) == (8000, 2 * given.frames)
    assert main(["speak", "-m", str(run), "a", "-o", str(tmp_path / "x")]) == 2
    assert "which does not speak" in capsys.readouterr().err


def test_a_voice_of_patches_trains_and_speaks(tmp_path: Path, make_manifest: Make, capsys) -> None:
    manifest = make_manifest(texts=("ei b | dʒ", "b | ei , dʒ", "dʒ | ei b", "b dʒ | ei"))
    small = ["--model.backbone.dim", "16", "--model.backbone.depth", "1"]
    small += ["--model.backbone.longest", "3", "--data.val", "2", "--data.test", "0"]
    run = fit(tmp_path, "ditar", "--data.path", str(manifest), *small)
    assert (run / "pictures" / "val_synthesis.png").read_bytes().startswith(b"\x89PNG")
    out = tmp_path / "one.wav"
    words = ["speak", "-m", str(run), "dʒ ei | b", "-o", str(out), "--steps", "2"]
    assert main(words) == 0
    assert soundfile.info(out).frames in (400, 800, 1200)
    assert main([*words, "--overwrite", "--speed", "2"]) == 2
    assert "leave speed, pitch and energy" in capsys.readouterr().err
    assert main(["align", "-m", str(run), str(manifest), "-o", str(tmp_path / "w.csv")]) == 2
    assert "align with FastSpeech" in capsys.readouterr().err


def test_a_voice_of_words_trains_and_speaks(tmp_path: Path, make_manifest: Make, capsys) -> None:
    manifest = make_manifest(texts=("ei b | dʒ", "b | ei , dʒ", "dʒ | ei b", "b dʒ | ei"))
    small = ["--model.backbone.dim", "16", "--model.backbone.depth", "1"]
    small += ["--model.backbone.text_depth", "1", "--model.backbone.codes.words", "8"]
    small += ["--model.backbone.longest", "3", "--data.val", "2", "--data.test", "0"]
    run = fit(tmp_path, "small_e", "--data.path", str(manifest), *small)
    assert (run / "pictures" / "val_synthesis.png").read_bytes().startswith(b"\x89PNG")
    out = tmp_path / "one.wav"
    words = ["speak", "-m", str(run), "dʒ ei | b", "-o", str(out), "--steps", "2"]
    assert main(words) == 0
    assert soundfile.info(out).frames in (200, 400, 600)
    # The words of speech are those of the run, not measured anew.
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "3"]) == 0
    assert main([*words, "--overwrite", "--speed", "2"]) == 2
    assert "leave speed, pitch and energy" in capsys.readouterr().err
