"""Classes of recordings: folders, digits, training, and headway classify-audio."""

import csv
import json
from pathlib import Path

import pytest
import soundfile
import torch
from lightning.pytorch import Trainer
from spoken import tone

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.core.training import AdamW
from headway.core.weights import from_pretrained
from headway.speech.audio_batch import gather
from headway.speech.data import AudioFolder, SpokenDigits
from headway.speech.front_ends import FixedFbank
from headway.speech.models import AST
from headway.speech.tasks import AudioClassification

QUICK = ["--trainer.max_steps", "2", "--model.schedule", "null", "--trainer.accelerator", "cpu"]
NARROW = ["--model.backbone.dim", "16", "--model.backbone.depth", "1"]
PITCHES = {"high": 1500, "low": 300, "middle": 800}


@pytest.fixture(autouse=True)
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))


def folder(root: Path, count: int = 6) -> Path:
    for name, pitch in PITCHES.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            sound = tone(0.3 + 0.05 * number, 8000, pitch, number)
            soundfile.write(root / name / f"{number}.wav", sound, 8000)
    return root


def labels(data) -> list[int]:
    return [sound.label for sound in data.sounds]


def test_folders_are_classes_and_every_part_has_all_of_them(tmp_path: Path) -> None:
    data = AudioFolder(path=str(folder(tmp_path / "sounds")), val=3, test=0.2)
    data.setup()
    assert data.classes == ("high", "low", "middle")
    parts = data.train_set, data.val_set, data.test_set
    assert [len(part) for part in parts] == [11, 3, 4]
    assert all(set(labels(part)) == {0, 1, 2} for part in parts)
    files = [sound.file for part in parts for sound in part.sounds]
    assert len(set(files)) == 18


def test_folders_of_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    folder(tmp_path / "train")
    folder(tmp_path / "test", 2)
    data = AudioFolder(path=str(tmp_path), val=0.2)
    data.setup()
    assert [len(x) for x in (data.train_set, data.val_set, data.test_set)] == [14, 4, 6]
    (tmp_path / "test" / "other").mkdir()
    with pytest.raises(UserError, match="has classes that train lacks: other"):
        AudioFolder(path=str(tmp_path)).setup()


def test_digits_are_split_by_index_or_by_speaker(digits: Path) -> None:
    data = SpokenDigits(path=str(digits))
    data.setup()
    assert [len(x) for x in (data.train_set, data.val_set, data.test_set)] == [20, 20, 20]
    assert data.classes[3] == "three"
    out = SpokenDigits(path=str(digits), held_out=["bob"])
    out.setup()
    assert [len(x) for x in (out.train_set, out.val_set, out.test_set)] == [20, 10, 30]
    assert all("_bob_" in sound.file.name for sound in out.test_set.sounds)
    assert not any("_bob_" in sound.file.name for sound in out.train_set.sounds)
    with pytest.raises(UserError, match="has no speaker carl; it has ann, bob"):
        SpokenDigits(path=str(digits), held_out=["carl"]).setup()


def test_a_broken_recording_stops_or_is_left_out(tmp_path: Path, caplog) -> None:
    root = folder(tmp_path / "sounds")
    (root / "low" / "bad.wav").write_text("nothing")
    with pytest.raises(InputError, match="not a recording"):
        AudioFolder(path=str(root)).setup()
    data = AudioFolder(path=str(root), on_invalid="skip", val=3)
    data.setup()
    assert "skipped 1 of 19 recordings" in caplog.text
    with pytest.raises(UserError, match="no recording of this batch"):
        gather([None])


def test_from_the_recipe_to_classes(tmp_path: Path, digits: Path, capsys) -> None:
    words = ["fit", "-c", "speech/ast_digits", "--data.path", str(digits), *QUICK, *NARROW]
    assert main(words) == 0
    run = tmp_path / "runs" / "speech" / "ast_digits" / "1"
    model = from_pretrained(run)
    assert isinstance(model, AST)
    assert model.classes[1] == "one"
    assert model.front_end.complete
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["test_accuracy"] <= 1
    assert (run / "pictures" / "test_confusion.png").read_bytes().startswith(b"\x89PNG")
    (digits / "bad.wav").write_text("nothing")
    soundfile.write(digits / "short.wav", tone(0.01, 8000, 300), 8000)
    out = tmp_path / "classes.csv"
    ask = ["classify-audio", "-m", str(run), str(digits), "-o", str(out), "--batch-size", "7"]
    assert main(ask) == 2
    assert "bad.wav: not a recording" in capsys.readouterr().err
    assert main([*ask, "--on-invalid", "keep", "--overwrite"]) == 0
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 62
    errors = [row["file"] for row in rows if row["error"]]
    assert [Path(file).name for file in errors] == ["bad.wav", "short.wav"]
    said = [row for row in rows if not row["error"]]
    assert all(row["prediction"] in model.classes for row in said)
    assert all(float(row["probability"]) >= float(row["probability_3"]) for row in said)
    # Alone, a recording gives what it gave among others.
    one = tmp_path / "one.csv"
    assert main(["classify-audio", "-m", str(run), said[20]["file"], "-o", str(one)]) == 0
    [alone] = csv.DictReader(one.open())
    assert float(alone["probability"]) == pytest.approx(float(said[20]["probability"]), abs=1e-5)


def test_classes_of_a_folder_take_the_place_of_others(tmp_path: Path, digits: Path, capsys) -> None:
    """Fine-tuning, and what other models say to the verb."""
    root = folder(tmp_path / "sounds")
    words = ["fit", "-c", "speech/ast_digits", *QUICK, *NARROW, "--data", "AudioFolder"]
    assert main([*words, "--data.path", str(root)]) == 0
    run = tmp_path / "runs" / "speech" / "ast_digits" / "1"
    assert from_pretrained(run).classes == ("high", "low", "middle")
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "3"]) == 0
    assert main(["classify-audio", "-m", str(run), str(digits / "gone.wav")]) == 2
    assert "gone.wav does not exist" in capsys.readouterr().err


def test_a_run_learns_other_digits_through_adapters(tmp_path: Path, digits: Path, capsys) -> None:
    data = ["--data.path", str(digits)]
    old = ["--data.digits", "[0,1]", *NARROW]
    assert main(["fit", "-c", "speech/ast_digits", *QUICK, *data, *old]) == 0
    run = tmp_path / "runs" / "speech" / "ast_digits" / "1"
    words = ["fit", "-c", "speech/petl_ast_digits", *QUICK, *data]
    words += ["--model.backbone.source", str(run)]
    assert main(words) == 0
    first = tmp_path / "runs" / "speech" / "petl_ast_digits" / "1"
    before, after = (from_pretrained(one).state_dict() for one in (run, first))
    assert from_pretrained(first).classes == ("five", "six", "seven", "eight", "nine")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name not in same} == {
        f"head.{part}"
        for part in ("classifier.weight", "classifier.bias", "norm.weight", "norm.bias")
    }
    assert any(".adapter." in name for name in after)
    assert main(["test", "-m", str(first), "--json"]) == 0
    capsys.readouterr()
    prompts = ["--model.backbone.block", "headway.core.blocks.PromptedBlock"]
    assert main([*words, *prompts]) == 0
    lora = ["--model.backbone.block", "null", "--model.finetune", "headway.core.finetune.LoRA"]
    assert main([*words, *lora]) == 0
    with pytest.raises(UserError, match=r"digits are \[5, 5\]; name some of 0 to 9, each once"):
        SpokenDigits(path=str(digits), digits=(5, 5))


def test_a_model_of_other_classes_is_not_scored(digits: Path) -> None:
    front_end = FixedFbank(sample_rate=8000, mels=20, steps=40, mean=0.0, std=1.0)
    model = AST(classes=("a", "b"), front_end=front_end, dim=8, depth=1, heads=1)
    task = AudioClassification(backbone=model, optimizer=AdamW(lr=1e-3))
    trainer = Trainer(logger=False, enable_progress_bar=False, enable_checkpointing=False)
    with pytest.raises(UserError, match="the data have the classes zero, .* and the model a, b"):
        trainer.test(task, SpokenDigits(path=str(digits)), verbose=False)
