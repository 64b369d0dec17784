"""Fine-tuning as a user does it: published weights, own pictures, the run folder afterwards."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import transformers
from PIL import Image
from torch import nn

from headway.core.cli.main import main
from headway.core.finetune import load_adapter
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.models import ViT

Make = Callable[..., Path]
QUICK = ["--trainer.max_steps", "3", "--model.schedule", "null", "--trainer.accelerator", "cpu"]
PLAIN = ["--model.layer_decay", "null", "--data.augment", "null", "--data.val", "6"]


@pytest.fixture(autouse=True)
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = ViT(image_size=32, num_classes=10, dim=24, depth=3, heads=3)
    return save_pretrained(model, tmp_path / "published")


def fit(source: Path, data: Path, *words: str) -> Path:
    model = ["--model.backbone.source", str(source), "--model.backbone.num_classes", "3"]
    recipe = ["fit", "-c", "vision/finetune", "--data.path", str(data)]
    before = set(runs(data))
    assert main([*recipe, *model, *QUICK, *PLAIN, *words]) == 0
    [run] = set(runs(data)) - before
    return run


def runs(data: Path) -> list[Path]:
    return list((data.parent / "runs" / "vision" / "finetune").glob("*"))


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    old, new = before.state_dict(), after.state_dict()
    assert old.keys() == new.keys()
    return {
        name
        for name, value in new.items()
        if value.shape != old[name].shape or not torch.equal(value, old[name])
    }


STRATEGIES = {
    "full": ([], lambda name: True),
    "head": (["HeadOnly"], lambda name: False),
    "last": (
        ["LastBlocks", "--model.finetune.blocks", "1"],
        lambda name: name.startswith(("encoder.blocks.2.", "encoder.norm.")),
    ),
    "bias": (["BitFit"], lambda name: name.endswith(".bias")),
    "lora": (["LoRA", "--model.finetune.rank", "2"], lambda name: name.endswith("qkv.weight")),
}


@pytest.mark.parametrize("form", STRATEGIES)
def test_every_form_moves_its_weights_alone_and_its_run_is_whole(
    form: str, published: Path, make_folder: Make
) -> None:
    words, moves = STRATEGIES[form]
    run = fit(published, make_folder(), *(["--model.finetune", *words] if words else []))
    before, after = from_pretrained(published), from_pretrained(run)
    moved = changed(before, after)
    head = {"head.classifier.weight", "head.classifier.bias"}
    assert moved - head == {name for name in before.state_dict() if moves(name)} - head
    assert moved >= head
    assert after.load_report.unexpected == ()
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["classes"] == ["cat", "dog", "fox"]
    assert (run / "adapter").is_dir() == (form == "lora")


def test_a_lora_run_has_its_small_weights_and_can_be_continued(
    published: Path, make_folder: Make, tmp_path: Path
) -> None:
    data = make_folder()
    lora = ["--model.finetune", "LoRA", "--model.finetune.rank", "2", "--model.ema", "0.9"]
    run = fit(published, data, *lora)
    images = torch.randn(2, 3, 32, 32)
    expected = from_pretrained(run).eval()(images)
    base = from_pretrained(published, num_classes=3)
    again = load_adapter(base, run / "adapter").eval()
    torch.testing.assert_close(again(images), expected, atol=1e-5, rtol=1e-5)
    assert json.loads((run / "adapter" / "adapter.json").read_text())["base"] == str(published)
    # A checkpoint holds the parts unmerged, and the average beside them.
    checkpoint = from_pretrained(run / "checkpoints" / "best.ckpt").eval()
    torch.testing.assert_close(checkpoint(images), expected, atol=1e-5, rtol=1e-5)

    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "6"]) == 0
    straight = fit(published, data, *lora, "--trainer.max_steps", "6")
    last = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (run, straight)
    ]
    for name, value in last[1].items():
        assert torch.equal(value, last[0][name]), name
    out = tmp_path / "p.csv"
    assert main(["predict", "-m", str(run), str(data / "cat"), "-o", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 11


def timm_folder(folder: Path) -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=5)
    timm.models.save_for_hf(model, folder, safe_serialization=True)


def hugging_face_folder(folder: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)


@pytest.mark.parametrize("publish", [timm_folder, hugging_face_folder])
def test_weights_of_others_are_fine_tuned(
    publish: Callable[[Path], None], make_folder: Make, tmp_path: Path, truncate
) -> None:
    publish(tmp_path / "theirs")
    data = make_folder(count=8)
    truncate(data / "dog" / "01.jpg")
    picture = Image.open(data / "cat" / "00.jpg")
    picture.convert("L").save(data / "cat" / "grey.png")
    picture.convert("CMYK").save(data / "cat" / "cmyk.jpg")
    run = fit(tmp_path / "theirs", data, "--data.on_invalid", "skip")
    loaded = from_pretrained(run)
    assert loaded.init_args["num_classes"] == 3
    again = fit(run, data, "--data.on_invalid", "skip", "--model.finetune", "HeadOnly")
    assert changed(loaded, from_pretrained(again)) == {
        "head.classifier.weight",
        "head.classifier.bias",
    }


def test_a_broken_picture_stops_before_training_and_leaves_no_run(
    published: Path, make_folder: Make, truncate, capsys
) -> None:
    data = make_folder()
    broken = truncate(data / "dog" / "01.jpg")
    words = ["--model.backbone.source", str(published), "--model.backbone.num_classes", "3"]
    assert main(["fit", "-c", "vision/finetune", "--data.path", str(data), *words, *QUICK]) == 2
    said = capsys.readouterr().err
    assert str(broken.relative_to(data)) in said
    assert "on_invalid to skip" in said
    assert runs(data) == []
