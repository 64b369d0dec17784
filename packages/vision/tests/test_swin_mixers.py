"""One Swin, any mixer: from YAML alone, through the command line."""

from pathlib import Path

import pytest
import torch
import yaml

from headway.core.cli.main import main
from headway.core.weights import from_pretrained
from headway.vision.models import Swin

RECIPE = {
    "model": {
        "class_path": "headway.vision.tasks.ImageClassification",
        "init_args": {
            "backbone": {
                "class_path": "headway.vision.models.Swin",
                "init_args": {
                    "image_size": 8,
                    "num_classes": 10,
                    "dim": 8,
                    "depths": [2, 2],
                    "heads": [2, 2],
                    "embedding": {
                        "class_path": "headway.core.embeddings.PatchEmbedding",
                        "init_args": {"patch": 1, "remainder": "pad"},
                    },
                },
            },
            "optimizer": {"class_path": "headway.core.training.AdamW", "init_args": {"lr": 0.01}},
        },
    },
    "data": {"class_path": "headway.vision.data.Digits", "init_args": {"batch_size": 16}},
    "trainer": {"max_steps": 2, "accelerator": "cpu", "limit_val_batches": 1},
}
WINDOW = "headway.core.mixers.WindowAttention"
MIXERS = {
    "windows": [
        {"class_path": WINDOW, "init_args": {"window": 4}},
        {"class_path": WINDOW, "init_args": {"window": 4, "shift": 2}},
    ],
    "attention": "headway.core.mixers.SelfAttention",
    "probsparse": "headway.core.mixers.ProbSparseAttention",
    "pooling": "headway.core.mixers.PoolingMixer",
    "fourier": "headway.core.mixers.FourierMixer",
    "convolution": {
        "class_path": "headway.core.mixers.ConvolutionMixer",
        "init_args": {"window": 3},
    },
}


def fit(tmp_path: Path, mixer: object, **changes: object) -> int:
    recipe = yaml.safe_load(yaml.safe_dump(RECIPE))
    recipe["model"]["init_args"]["backbone"]["init_args"].update(mixer=mixer, **changes)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    return main(["fit", "-c", str(tmp_path / "mine.yaml"), "--runs", str(tmp_path / "runs")])


@pytest.mark.parametrize("name", MIXERS)
def test_two_steps_with_each_mixer(name: str, tmp_path: Path) -> None:
    assert fit(tmp_path, MIXERS[name]) == 0
    run = tmp_path / "runs" / "mine" / "1"
    model = from_pretrained(run)
    assert isinstance(model, Swin)
    # What was trained is what was asked for, and it comes back from config.json.
    kinds = [type(block.mixer.function).__name__ for s in model.stages for block in s.blocks]
    wanted = MIXERS[name]
    first = wanted[0] if isinstance(wanted, list) else wanted
    path = first["class_path"] if isinstance(first, dict) else first
    assert set(kinds) == {path.rpartition(".")[2]}
    if name == "windows":
        shifts = [block.mixer.function.shift for s in model.stages for block in s.blocks]
        assert shifts == [(0, 0), (2, 2)] * 2
    start = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in start.values())
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    if name == "windows":
        # Masked windows: the file is run and compared with the model before it is written.
        assert main(["export", "-m", str(run), "-o", str(tmp_path / "x.onnx")]) == 0
    # The run goes on: what its config.yaml says can be read again.
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "3"]) == 0


@pytest.mark.parametrize(
    ("mixer", "message"),
    [
        ("headway.core.mixers.CrossAttention", "CrossAttention needs context="),
        (
            {"class_path": "headway.core.mixers.ConvolutionMixer", "init_args": {"axes": 1}},
            "got tokens on a grid of 2 axes",
        ),
        (
            {"class_path": WINDOW, "init_args": {"window": 4, "shift": 5}},
            "between 0 and the window",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    mixer: object, message: str, tmp_path: Path, capsys
) -> None:
    assert fit(tmp_path, mixer) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("class_token", [False, True])
def test_windows_serve_a_vit_without_tokens_in_front(
    class_token: bool, tmp_path: Path, capsys
) -> None:
    backbone = {
        "class_path": "headway.vision.models.ViT",
        "init_args": {
            "image_size": 8,
            "num_classes": 10,
            "dim": 8,
            "depth": 2,
            "heads": 2,
            "embedding": RECIPE["model"]["init_args"]["backbone"]["init_args"]["embedding"],
            "tokens": {
                "class_path": "headway.vision.layers.ImageTokens",
                "init_args": {"class_token": class_token},
            },
            "mixer": MIXERS["windows"],
            "head": {
                "class_path": "headway.core.heads.ClassificationHead",
                "init_args": {"pooling": "headway.core.heads.AveragePooling"},
            },
        },
    }
    recipe = yaml.safe_load(yaml.safe_dump(RECIPE))
    recipe["model"]["init_args"]["backbone"] = backbone
    (tmp_path / "vit.yaml").write_text(yaml.safe_dump(recipe))
    code = main(["fit", "-c", str(tmp_path / "vit.yaml"), "--runs", str(tmp_path / "runs")])
    assert code == (2 if class_token else 0)
    if class_token:
        assert "WindowAttention does not support prefix" in capsys.readouterr().err


def test_low_rank_adapters_train_queries_and_values_of_windows(tmp_path: Path) -> None:
    assert fit(tmp_path, MIXERS["windows"]) == 0
    run = tmp_path / "runs" / "mine" / "1"
    words = ["--model.backbone.source", str(run), "--model.backbone.num_classes", "10"]
    recipe = {
        **RECIPE,
        "model": {
            "class_path": "headway.vision.tasks.ImageClassification",
            "init_args": {
                "backbone": {"class_path": "headway.vision.models.pretrained", "init_args": {"source": "x"}},
                "optimizer": RECIPE["model"]["init_args"]["optimizer"],
                "finetune": {"class_path": "headway.core.finetune.LoRA", "init_args": {"rank": 2}},
            },
        },
    }  # fmt: skip
    (tmp_path / "lora.yaml").write_text(yaml.safe_dump(recipe))
    config = ["fit", "-c", str(tmp_path / "lora.yaml"), "--runs", str(tmp_path / "runs")]
    assert main([*config, *words]) == 0
    before = from_pretrained(run).state_dict()
    after = from_pretrained(tmp_path / "runs" / "lora" / "1").state_dict()
    moved = {key for key in after if not torch.equal(before[key], after[key])}
    heads = {"head.classifier.weight", "head.classifier.bias"}
    assert moved - heads == {key for key in after if key.endswith("qkv.weight")}


def test_a_configuration_with_parts_as_defaults_can_be_printed_and_read_again(
    tmp_path: Path, capsys
) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(RECIPE))
    assert main(["fit", "-c", str(tmp_path / "mine.yaml"), "--print_config"]) == 0
    printed = capsys.readouterr().out
    backbone = yaml.safe_load(printed)["model"]["init_args"]["backbone"]["init_args"]
    shifted = {"class_path": WINDOW, "init_args": {"window": 7, "shift": 3}}
    assert backbone["mixer"][1] == shifted
    assert backbone["head"]["class_path"] == "headway.core.heads.ClassificationHead"
    (tmp_path / "again.yaml").write_text(printed)
    assert main(["fit", "-c", str(tmp_path / "again.yaml"), "--runs", str(tmp_path)]) == 0
