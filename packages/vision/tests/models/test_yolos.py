"""YOLOS against transformers: same weights, same answers, gradients and losses, at any size of a picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.data.box_transforms import DetectionPreprocessing
from headway.vision.models import YOLOS
from headway.vision.tasks import DetectionLoss


def theirs_of(**options: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, image_size=[48, 64],
        patch_size=8, num_detection_tokens=5, num_labels=4, attn_implementation="eager", **options,
    )  # fmt: skip
    model = transformers.YolosForObjectDetection(config)
    stir_(model)
    return model.eval()


def objects(*counts: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    boxes = [torch.rand(count, 4, generator=generator) * 0.4 + 0.2 for count in counts]
    return boxes, [torch.randint(4, (count,), generator=generator) for count in counts]


@pytest.mark.parametrize(("generation", "between"), [("4.x", True), ("5.x", True), ("5.x", False)])
def test_answers_gradients_and_losses_equal_theirs_at_any_size(
    generation: str, between: bool, tmp_path: Path
) -> None:
    theirs = theirs_of(use_mid_position_embeddings=between)
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    if generation == "5.x":
        save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, path)
    inside = "vit.encoder.interpolation.mid_position_embeddings" in load_file(path)
    assert inside == (between and generation == "5.x")
    transformers.YolosImageProcessor(
        size={"shortest_edge": 48, "longest_edge": 96}
    ).save_pretrained(tmp_path)
    ours: Any = from_pretrained(tmp_path).eval()
    assert isinstance(ours, YOLOS)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    assert (ours.pretrained_cfg["shortest"], ours.pretrained_cfg["longest"]) == (48, 96)
    boxes, labels = objects(2, 3)
    wanted = [{"class_labels": b, "boxes": a} for a, b in zip(boxes, labels, strict=True)]
    # As positions were made for, larger, smaller with pixels that fill no patch.
    for height, width in ((48, 64), (80, 56), (37, 45)):
        images = torch.randn(2, 3, height, width)
        mine, other = ours(images), theirs(images, labels=wanted)
        torch.testing.assert_close(mine.logits, other.logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mine.boxes, other.pred_boxes, atol=1e-5, rtol=1e-5)
        loss = DetectionLoss()(mine, boxes, labels)
        torch.testing.assert_close(loss.total, other.loss, atol=1e-5, rtol=1e-5)
    theirs.zero_grad()
    loss.total.backward()
    theirs(images, labels=wanted).loss.backward()
    encoder, block = theirs.vit.encoder, theirs.vit.encoder.layer[1]
    pairs = [
        (ours.tokens.registers, theirs.vit.embeddings.detection_tokens.grad),
        (ours.embedding.weight, theirs.vit.embeddings.patch_embeddings.projection.weight.grad),
        (
            ours.encoder.blocks[1].feedforward.function.fc1.weight,
            block.intermediate.dense.weight.grad,
        ),
        (ours.class_head.layers[2].weight, theirs.class_labels_classifier.layers[2].weight.grad),
    ]
    if between:
        table = encoder.interpolation.mid_position_embeddings.grad[1]
        table = torch.cat([table[:, :1], table[:, -5:], table[:, 1:-5]], dim=1)
        pairs.append((ours.between[1].table, table))
    for parameter, expected in pairs:
        assert (parameter.grad - expected).norm() / expected.norm() < 1e-4


def small(**options: Any) -> YOLOS:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"image_size": 64, "dim": 16, "depth": 2, "heads": 2, "queries": 6}
    model = YOLOS(num_classes=3, **{**sizes, **options})
    stir_(model)
    return model.eval()


def test_detection_tokens_read_the_picture_and_each_other_and_are_told_where_patches_are() -> None:
    model, images = small(), torch.randn(1, 3, 64, 64)
    # Patches in another order are another picture, but only by their positions, in front and between blocks.
    moved = images.roll(16, dims=3)
    assert (model(images).boxes - model(moved).boxes).abs().max() > 1e-5
    with torch.no_grad():
        model.tokens.position.table.zero_()  # pyright: ignore
    assert (model(images).boxes - model(moved).boxes).abs().max() > 1e-5
    with torch.no_grad():
        model.between[0].table.zero_()  # pyright: ignore
    torch.testing.assert_close(model(images).boxes, model(moved).boxes)
    # What one token is changes what another one finds: they need no suppression.
    model = small()
    before = model(images).boxes
    with torch.no_grad():
        model.tokens.registers[0, 0].add_(torch.randn(16))  # pyright: ignore
    assert (model(images).boxes - before)[0, 1:].abs().max() > 1e-5


def test_pictures_are_as_large_as_those_of_the_published_processor(tmp_path: Path) -> None:
    theirs = theirs_of()
    theirs.config.patch_size = 16
    theirs.config.save_pretrained(tmp_path)
    processor = transformers.YolosImageProcessor(size={"shortest_edge": 96, "longest_edge": 130})
    model = small(queries=2)
    cfg = {**model.pretrained_cfg, "shortest": 96, "longest": 130}
    ours = DetectionPreprocessing.from_cfg(cfg)
    for height, width in ((50, 75), (75, 50), (100, 300), (64, 64)):
        picture = Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8))
        wanted = processor(images=picture, return_tensors="pt")["pixel_values"][0]
        assert ours.tensor(picture).shape == wanted.shape
        assert all(side % 16 == 0 for side in wanted.shape[1:])


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    model, images = small(), torch.rand(1, 3, 48, 80)
    found = model(images)
    save_pretrained(model, tmp_path / "model")
    again: nn.Module = from_pretrained(tmp_path / "model").eval()
    torch.testing.assert_close(again(images), found, rtol=0, atol=0)
    other = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert other(images).logits.shape == (1, 6, 8)
    torch.testing.assert_close(other(images).boxes, found.boxes)


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="queries 0 and depth 2"):
        small(queries=0)
    with pytest.raises(UserError, match="multiple 16 must be at least 1 and at most shortest, 8"):
        DetectionPreprocessing(shortest=8, multiple=16)
