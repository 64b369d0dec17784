import csv
import importlib.util
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from headway.core.cli.main import main
from headway.core.feedforward import GLU
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.mixers import PoolingMixer
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers import ImageTokens
from headway.vision.models import DistilledViT, ViT
from headway.vision.relevance import patch_relevance
from headway.vision.verbs import export as export_verb
from headway.vision.verbs.graphs import Graph

Make = Callable[..., Path]
NOTES = {"classes": ["cat", "dog", "fox"], "input_size": [3, 32, 32], "crop_pct": 1.0}


def save(folder: Path, model: nn.Module) -> Path:
    save_pretrained(model, folder)
    (folder / "preprocessing.json").write_text(json.dumps(NOTES))
    return folder


def vit(**options: object) -> ViT:
    torch.manual_seed(0)
    return ViT(image_size=32, num_classes=3, dim=24, depth=2, heads=3, **options)  # pyright: ignore


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "model", vit())


def explain(model: Path, out: Path, *words: object) -> int:
    return main(["explain", "-m", str(model), "-o", str(out), "--device", "cpu", *map(str, words)])


def test_every_picture_gets_a_heat_map_and_a_row(
    model: Path, make_folder: Make, tmp_path: Path, capsys
) -> None:
    folder = make_folder(count=2)
    out = tmp_path / "heat"
    assert explain(model, out, folder, "--batch-size", 4, "--columns", 3) == 0
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert names == sorted(
        [f"{label}/{n:02}.png" for label in NOTES["classes"] for n in range(2)] + ["overview.png"]
    )
    assert not list(out.glob(".*"))
    rows = list(csv.DictReader((out / "relevance.csv").open()))
    assert [row["file"] for row in rows] == [
        f"{folder}/{label}/{n:02}.jpg" for label in NOTES["classes"] for n in range(2)
    ]
    values = np.array([[float(row[f"r{y}c{x}"]) for y in (0, 1) for x in (0, 1)] for row in rows])
    assert (values >= 0).all()
    assert values.max() > 0
    assert Image.open(out / rows[0]["picture"]).width > 200
    capsys.readouterr()
    assert explain(model, out, folder) == 2
    assert "--overwrite" in capsys.readouterr().err
    kept = out / "mine.txt"
    kept.write_text("x")
    assert explain(model, out, folder / "cat", "--overwrite", "--json") == 0
    assert json.loads(capsys.readouterr().out)["explained"] == 2
    assert kept.is_file()


def test_a_target_by_name_or_number_and_the_methods(model: Path, tmp_path: Path, capsys) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(picture)
    tables = {}
    for name, words in {
        "name": ["--target", "fox"],
        "number": ["--target", "2"],
        "other": ["--target", "cat"],
        "rollout": ["--method", "rollout"],
    }.items():
        assert explain(model, tmp_path / name, picture, *words) == 0
        [tables[name]] = csv.DictReader((tmp_path / name / "relevance.csv").open())
    assert tables["name"] == tables["number"]
    assert tables["name"]["explained"] == "fox"
    patch = "r1c1"
    assert len({tables[name][patch] for name in ("name", "other", "rollout")}) == 3
    capsys.readouterr()
    assert explain(model, tmp_path / "x", picture, "--target", "foxx") == 2
    assert "did you mean 'fox'?" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_broken_pictures_follow_the_policy(
    model: Path, make_folder: Make, tmp_path: Path, truncate, capsys
) -> None:
    folder = make_folder(count=2)
    broken = truncate(folder / "dog" / "01.jpg")
    assert explain(model, tmp_path / "raise", folder) == 2
    assert f"{broken}: broken picture" in capsys.readouterr().err
    assert not (tmp_path / "raise").exists()
    for policy, expected in (("skip", 5), ("keep", 6)):
        out = tmp_path / policy
        assert explain(model, out, folder, "--on-invalid", policy) == 0
        rows = list(csv.DictReader((out / "relevance.csv").open()))
        assert len(rows) == expected
        assert "1 pictures not read" in capsys.readouterr().err
    (tmp_path / "b.jpg").write_bytes(b"x")
    assert explain(model, tmp_path / "none", tmp_path / "b.jpg", "--on-invalid", "skip") == 1


def test_a_model_without_attention_is_refused_in_one_line(tmp_path: Path, capsys) -> None:
    folder = save(tmp_path / "model", vit(mixer=PoolingMixer))
    picture = tmp_path / "a.png"
    Image.new("RGB", (32, 32), "red").save(picture)
    assert explain(folder, tmp_path / "out", picture) == 2
    said = capsys.readouterr().err
    assert "no attention weights" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("method", ["relevance", "rollout"])
def test_relevance_of_a_model_without_a_class_token_has_the_grid(method: str) -> None:
    head = partial(ClassificationHead, pooling=AveragePooling)
    found = patch_relevance(vit(head=head), torch.randn(2, 3, 32, 64), method=method)  # pyright: ignore
    assert found.shape == (2, 2, 4)


SMALL = {"image_size": 32, "num_classes": 3, "dim": 24, "depth": 2, "heads": 3}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "plain": vit,
    "distilled": lambda: DistilledViT(**SMALL),  # pyright: ignore
    "registers": lambda: vit(
        tokens=partial(ImageTokens, registers=2), feedforward=GLU, layer_scale=0.1
    ),
}


@pytest.mark.parametrize(
    ("kind", "ending"),
    [("plain", "pt2"), ("plain", "onnx"), ("distilled", "pt2"), ("registers", "onnx")],
)
def test_an_export_computes_what_the_model_does_for_any_batch(
    kind: str, ending: str, tmp_path: Path, capsys
) -> None:
    torch.manual_seed(0)
    model = MODELS[kind]()
    folder = save(tmp_path / "model", model)
    out = tmp_path / "out" / f"model.{ending}"
    assert main(["export", "-m", str(folder), "-o", str(out)]) == 0
    assert capsys.readouterr().out.count("largest difference") == 2
    images = torch.randn(5, 3, 32, 32)
    expected = from_pretrained(folder).eval()(images)
    if ending == "onnx":
        session = onnxruntime.InferenceSession(out)
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        notes = {p.key: p.value for p in onnx.load(out).metadata_props}["headway"]
    else:
        extra = {"preprocessing.json": ""}
        found = torch.export.load(out, extra_files=extra).module()(images)
        notes = extra["preprocessing.json"]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert json.loads(notes) == json.loads(out.with_suffix(".json").read_text())
    assert json.loads(notes)["classes"] == NOTES["classes"]


def test_an_export_that_differs_is_an_error_and_leaves_nothing(
    model: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    def wrong(graph: Graph, path: Path, opset: int):
        path.write_bytes(b"x")
        return lambda images: (graph.module(images) + 1,)

    monkeypatch.setitem(export_verb.WRITERS, ".pt2", wrong)
    out = tmp_path / "out" / "model.pt2"
    assert main(["export", "-m", str(model), "-o", str(out)]) == 1
    assert "differs by 1 from the model" in capsys.readouterr().err
    assert not out.parent.exists()


def test_wrong_use_of_export_is_said_in_one_line(
    model: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    def said(*words: object) -> str:
        assert main(["export", *map(str, words)]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    assert "export what" in said("-o", tmp_path / "m.onnx", "--domain", "vision")
    assert ".onnx or .pt2" in said("-m", model, "-o", tmp_path / "m.pb")
    assert "got nothing" in said("-m", model)
    (tmp_path / "m.json").write_text("{}")
    assert "m.json exists" in said("-m", model, "-o", tmp_path / "m.pt2")
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else real(name)
    )
    line = said("-m", model, "-o", tmp_path / "n.onnx")
    assert 'onnxscript, not installed: pip install "headway[export]"' in line
