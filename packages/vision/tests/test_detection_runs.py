"""Detection from the command line: recipes, fine-tuning of published weights, and what detect writes."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import lightning
import pytest
import torch
import transformers
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.detection import MeanAveragePrecision

from headway.core.cli.main import main
from headway.core.training import AdamW
from headway.core.weights import from_pretrained
from headway.vision.data import VOCDetection
from headway.vision.models import DETR, Detections
from headway.vision.models.detector import ObjectDetector
from headway.vision.tasks import ObjectDetection
from headway.vision.verbs.loading import load_detector

Make = Callable[..., Path]
QUICK = ["--trainer.accelerator", "cpu", "--model.schedule", "null"]
SMALL = ["--data.shortest", "48", "--data.longest", "64"]


@pytest.fixture(autouse=True)
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    backbone = transformers.ResNetConfig(
        layer_type="basic", embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1],
        out_features=["stage4"],
    )  # fmt: skip
    config = transformers.DetrConfig(
        backbone_config=backbone, use_timm_backbone=False, backbone=None, d_model=16, num_queries=5,
        encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, num_labels=4,
    )  # fmt: skip
    folder = tmp_path / "published"
    transformers.DetrForObjectDetection(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": {"shortest_edge": 40, "longest_edge": 64}})
    )
    return folder


def fit(recipe: str, tmp_path: Path, *words: str) -> Path:
    folder = tmp_path / "runs" / "vision" / recipe
    before = set(folder.glob("*"))
    assert main(["fit", "-c", f"vision/{recipe}", *QUICK, *words]) == 0
    [run] = set(folder.glob("*")) - before
    return run


def detect(run: Path, out: Path, *words: str) -> list[dict[str, str]]:
    assert main(["detect", "-m", str(run), *words, "-o", str(out), "--device", "cpu"]) == 0
    return list(csv.DictReader((out / "detections.csv").open()))


def test_the_recipe_trains_and_its_run_detects(make_voc: Make, tmp_path: Path, capsys) -> None:
    data = make_voc()
    words = ["--data.path", str(data), *SMALL, "--model.backbone.num_classes", "2"]
    run = fit(
        "detr_bccd",
        tmp_path,
        *words,
        "--trainer.max_epochs",
        "1",
        "--trainer.check_val_every_n_epoch",
        "1",
    )
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["classes"] == ["blue", "red"]
    assert (run / "pictures" / "val_detections.png").is_file()
    assert (run / "pictures" / "val_per_class.png").is_file()
    scores = list(csv.DictReader((run / "pictures" / "val_per_class.csv").open()))
    assert [row["class"] for row in scores] == ["blue", "red"]
    assert all(0 <= float(row["map"]) <= float(row["map_50"]) <= 1 for row in scores)
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train_loss", "train_overlap", "val_loss", "val_map", "val_map_50"} <= set(header)
    rows = detect(run, tmp_path / "found", str(data / "JPEGImages"), "--threshold", "0")
    assert "6 pictures with 240 objects written" in capsys.readouterr().err
    assert len(rows) == 6 * 40
    assert {row["label"] for row in rows} <= {"blue", "red"}
    for row in rows[:5]:
        assert 0 <= float(row["left"]) <= float(row["right"]) <= 64
    found = json.loads((tmp_path / "found" / "detections.json").read_text())
    assert [image["width"] for image in found["images"]] == [64, 64, 48] * 2
    box = found["annotations"][0]["bbox"]
    assert box[2] == pytest.approx(float(rows[0]["right"]) - float(rows[0]["left"]), abs=0.02)
    drawn = Image.open(tmp_path / "found" / rows[0]["picture"])
    assert drawn.size == (64, 48)
    assert main(["validate", "-m", str(run)]) == 0
    assert main(["detect", "-m", str(run), str(data), "-o", str(tmp_path / "found")]) == 2
    # Other verbs say where to go.
    assert main(["predict", "-m", str(run), str(data / "JPEGImages")]) == 2
    assert "use headway detect" in capsys.readouterr().err


def test_bad_pictures_are_raised_skipped_or_kept(
    make_voc: Make, tmp_path: Path, truncate, capsys
) -> None:
    data = make_voc()
    words = ["--data.path", str(data), *SMALL, "--model.backbone.num_classes", "2"]
    run = fit("detr_bccd", tmp_path, *words, "--trainer.max_steps", "1")
    pictures = data / "JPEGImages"
    truncate(pictures / "001.jpg")
    (pictures / "notes.txt").write_text("no picture")
    out = ["-o", str(tmp_path / "out")]
    assert main(["detect", "-m", str(run), str(pictures), *out]) == 2
    said = capsys.readouterr().err
    assert "001.jpg: broken picture" in said
    assert "--on-invalid skip or keep" in said
    assert not (tmp_path / "out").exists()
    rows = detect(run, tmp_path / "skip", str(pictures), "--on-invalid", "skip", "--threshold", "0")
    assert len({row["file"] for row in rows}) == 5
    assert "1 pictures not read, 1 other files ignored" in capsys.readouterr().err
    rows = detect(run, tmp_path / "keep", str(pictures), "--on-invalid", "keep", "--threshold", "1")
    assert [row["file"][-7:] for row in rows] == ["001.jpg"]
    assert rows[0]["error"].startswith("broken picture")
    for words, message in (
        (["--threshold", "2", *out], "--threshold 2 is outside"),
        ([], "-o takes the folder"),
    ):
        assert main(["detect", "-m", str(run), str(pictures), *words]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("form", ["full", "lora"])
def test_published_weights_are_fine_tuned_continued_and_detect(
    form: str, published: Path, make_voc: Make, tmp_path: Path
) -> None:
    data = make_voc()
    words = ["--data.path", str(data), "--model.backbone.source", str(published)]
    words += ["--model.backbone.num_classes", "2", "--trainer.max_steps", "3"]
    if form == "lora":
        words += ["--model.finetune", "LoRA", "--model.finetune.rank", "2"]
    run = fit("finetune_detection", tmp_path, *words)
    before, after = from_pretrained(published), from_pretrained(run)
    assert isinstance(after, DETR)
    assert after.num_classes == 2
    old, new = before.state_dict(), after.state_dict()
    moved = {k for k in new if old[k].shape != new[k].shape or not torch.equal(old[k], new[k])}
    heads = {k for k in new if k.startswith(("class_head.", "box_head."))}
    assert heads <= moved
    if form == "lora":
        adapted = {k for k in new if k.endswith((".qk.weight", ".q.weight", ".v.weight"))}
        # The first self-attention of the decoder reads empty queries: whatever its weights, all get the same.
        idle = {k for k in adapted if k.startswith("decoder.blocks.0.mixer.")}
        assert moved - heads == adapted - idle
    else:
        assert "queries" in moved
        assert "backbone.layer2.0.conv1.weight" in moved
        assert "backbone.conv1.weight" not in moved
    # The published sizes are those of the run.
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert (notes["shortest"], notes["longest"]) == (40, 64)
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "6"]) == 0
    straight = fit("finetune_detection", tmp_path, *words, "--trainer.max_steps", "6")
    last = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (run, straight)
    ]
    for name, value in last[1].items():
        assert torch.equal(value, last[0][name]), name
    rows = detect(run, tmp_path / "found", str(data / "JPEGImages"), "--threshold", "0")
    assert len(rows) == 6 * 5


def test_classes_of_data_and_model_are_compared(
    published: Path, make_voc: Make, tmp_path: Path, capsys
) -> None:
    words = ["--data.path", str(make_voc()), "--model.backbone.source", str(published)]
    recipe = ["fit", "-c", "vision/finetune_detection", *QUICK, *words]
    assert main([*recipe, "--model.backbone.num_classes", "3"]) == 2
    assert "set the model's num_classes to 2" in capsys.readouterr().err
    assert main(["detect", "-m", str(tmp_path / "nothing"), "x.png", "-o", "y"]) == 2


class Nearly(ObjectDetector):
    """A detector that knows the boxes, gives them a little wrong, and adds some that are none."""

    def __init__(self, data: VOCDetection) -> None:
        super().__init__(num_classes=2, name="nearly")
        random = torch.Generator().manual_seed(0)
        self.answers = []
        for batch in data.val_dataloader():
            logits = torch.randn(len(batch.targets), 4, 3, generator=random)
            boxes = torch.rand(len(batch.targets), 4, 4, generator=random) * 0.3 + 0.2
            for place, target in enumerate(batch.targets):
                noise = 0.03 * torch.randn(target.boxes.shape, generator=random)
                boxes[place, :2] = target.boxes + noise
                logits[place, range(2), target.labels] += 1.5
            self.answers.append(Detections(logits, boxes.clamp(0.01, 0.99)))
        self.left = list(self.answers)

    def forward(self, images: torch.Tensor, sizes: object = None) -> Detections:
        return self.left.pop(0)


def test_scores_are_those_of_cocos_evaluation(make_voc: Make, tmp_path: Path) -> None:
    data = VOCDetection(path=str(make_voc()), batch_size=2, shortest=48, longest=64)
    data.setup()
    model = Nearly(data)
    task = ObjectDetection(backbone=model, optimizer=AdamW(lr=1e-3))
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        default_root_dir=tmp_path, num_sanity_val_steps=0,
    )  # fmt: skip
    [logged] = trainer.validate(task, data, verbose=False)
    metrics = {label: MeanAveragePrecision() for label in (None, 0, 1)}
    for batch, output in zip(data.val_dataloader(), model.answers, strict=True):
        for place, target in enumerate(batch.targets):
            scores, labels = output.logits[place].softmax(-1)[:, :2].max(-1)
            height, width = target.size.tolist()
            corners = []
            for boxes in (output.boxes[place], target.boxes):
                x, y, w, h = boxes.unbind(1)
                sides = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
                corners.append(sides.clamp(0, 1) * torch.tensor([width, height] * 2))
            found = {"boxes": corners[0], "scores": scores, "labels": labels}
            wanted = {"boxes": corners[1], "labels": target.labels}
            for label, metric in metrics.items():
                parts = [
                    {
                        k: v[one["labels"] == label] if label is not None else v
                        for k, v in one.items()
                    }
                    for one in (found, wanted)
                ]
                metric.update(parts[:1], parts[1:])
    expected = metrics[None].compute()
    assert 0.05 < expected["map"] < 0.95
    for name in ("map", "map_50", "map_75"):
        assert logged[f"val_{name}"] == pytest.approx(expected[name].item(), abs=1e-6)
    # Each class alone: as if there were no other.
    for label, row in enumerate(task.per_class["val"]):
        of_class = metrics[label].compute()
        assert row["class"] == data.classes[label]
        for name in ("map", "map_50", "map_75", "mar_100"):
            assert row[name] == pytest.approx(of_class[name].item(), abs=2e-6)


def test_answers_are_scored_against_the_users_ground_truth(
    published: Path, make_coco: Make, tmp_path: Path, capsys
) -> None:
    root = make_coco(2)
    truth = root / "boxes.json"
    text = truth.read_text().replace(": 90", ": 42")
    content = json.loads(text)
    for number, image in enumerate(content["images"]):
        image["id"] = 1001 + number
    for entry in content["annotations"]:
        entry["image_id"] += 901
    truth.write_text(json.dumps(content))
    # Its boxes are about the picture as it is stored, whatever the camera says about turns.
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(root / "0.png").save(root / "0.png", exif=turned)
    words = ["--data", "COCODetection", "--data.train", str(truth), *SMALL]
    words += ["--model.backbone.source", str(published), "--model.backbone.num_classes", "2"]
    run = fit("finetune_detection", tmp_path, *words, "--trainer.max_steps", "1")
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["category_ids"] == [7, 42]
    given = ["--annotations", str(truth), "--threshold", "0"]
    # In another order than the ground truth's, and under other paths.
    pictures = [str(root / f"{number}.png") for number in (1, 0)]
    detect(run, tmp_path / "found", *pictures, *given)
    found = json.loads((tmp_path / "found" / "detections.json").read_text())
    assert [(image["id"], Path(image["file_name"]).name) for image in found["images"]] == [
        (1002, "1.png"),
        (1001, "0.png"),
    ]
    assert {(image["width"], image["height"]) for image in found["images"]} == {(64, 48)}
    assert [entry["id"] for entry in found["categories"]] == [7, 42]
    ground = COCO(str(truth))
    results = tmp_path / "found" / "results.json"
    answers = json.loads(results.read_text())
    assert {entry["image_id"] for entry in answers} == {1001, 1002}
    assert {entry["category_id"] for entry in answers} <= {7, 42}
    assert len(ground.loadRes(str(results)).getAnnIds()) == len(answers) == 10
    evaluation = COCOeval(ground, ground.loadRes(str(results)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] >= 0
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png")
    words = ["detect", "-m", str(run), str(tmp_path / "other.png"), "-o", str(tmp_path / "x")]
    assert main([*words, *given]) == 2
    assert "other.png is no image of" in capsys.readouterr().err


def test_published_labels_of_all_of_coco_are_its_ids(published: Path) -> None:
    file = published / "config.json"
    config = json.loads(file.read_text())
    names = ["N/A", "person", "bicycle", "N/A"]
    config["id2label"] = {str(place): name for place, name in enumerate(names)}
    config["label2id"] = {name: place for place, name in enumerate(names)}
    detector = load_detector(str(published), "cpu")
    assert detector.category_ids == (1, 2, 3, 4)
    file.write_text(json.dumps(config))
    detector = load_detector(str(published), "cpu")
    assert detector.category_ids == (0, 1, 2, 3)
    assert detector.classes[1] == "person"
    detector.model.reset_classifier(2)
    assert "category_ids" not in detector.model.pretrained_cfg


def test_annotations_of_coco_take_the_place_of_vocs(
    published: Path, make_coco: Make, tmp_path: Path
) -> None:
    root = make_coco()
    words = ["--data", "COCODetection", "--data.train", str(root / "boxes.json"), *SMALL]
    words += ["--data.val", str(root / "boxes.json"), "--data.pictures", str(root)]
    words += ["--model.backbone.source", str(published), "--model.backbone.num_classes", "2"]
    run = fit("finetune_detection", tmp_path, *words, "--trainer.max_steps", "1")
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["classes"] == ["red", "blue"]
    assert (run / "pictures" / "val_detections.png").is_file()
