"""Deformable DETR against transformers: same weights, same answers, same gradients, same losses."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.loss.loss_deformable_detr import (
    DeformableDetrHungarianMatcher,
    DeformableDetrImageLoss,
)

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers import ResNet
from headway.vision.models import DeformableDETR
from headway.vision.tasks import FocalLoss

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one scale": {"num_feature_levels": 1},
    "refined": {"with_box_refine": True},
    "two stages": {"with_box_refine": True, "two_stage": True},
}


def theirs_of(kind: str = "plain", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    stages = [4] if kind == "one scale" else [2, 3, 4]
    backbone = transformers.ResNetConfig(
        layer_type="basic", embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1],
        out_features=[f"stage{stage}" for stage in stages],
    )  # fmt: skip
    small: dict[str, Any] = {
        "backbone_config": backbone, "d_model": 32, "num_queries": 6, "two_stage_num_proposals": 6,
        "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_labels": 5, "dropout": 0.0, "auxiliary_loss": True,
        "num_feature_levels": 4,
    }  # fmt: skip
    config = transformers.DeformableDetrConfig(**{**small, **KINDS[kind], **options})
    model = transformers.DeformableDetrForObjectDetection(config)
    stir_(model)
    model.model.backbone.requires_grad_(True)
    return model.eval()


def ours_of(theirs: nn.Module, folder: Path) -> DeformableDETR:
    theirs.save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    transformers.DeformableDetrImageProcessor(
        size={"shortest_edge": 96, "longest_edge": 128}
    ).save_pretrained(folder)
    ours = from_pretrained(folder).eval()
    assert isinstance(ours, DeformableDETR)
    return ours


def objects(*counts: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    boxes = [torch.rand(count, 4, generator=generator) * 0.4 + 0.2 for count in counts]
    labels = [torch.randint(5, (count,), generator=generator) for count in counts]
    return boxes, labels


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_gradients_and_losses_equal_theirs(kind: str, tmp_path: Path) -> None:
    theirs = theirs_of(kind)
    ours = ours_of(theirs, tmp_path)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    assert (ours.pretrained_cfg["shortest"], ours.pretrained_cfg["longest"]) == (96, 128)
    images = torch.randn(2, 3, 96, 128)
    with torch.no_grad():
        mine, other = ours(images), theirs(images)
    near(mine.logits, other.logits)
    near(mine.boxes, other.pred_boxes)
    boxes, labels = objects(3, 1)
    published = [
        {"class_labels": label, "boxes": box} for label, box in zip(labels, boxes, strict=True)
    ]
    # Batch norms are frozen and nothing is dropped: only the other blocks' answers are new in training.
    ours.train()
    answer = ours(images)
    assert len(answer.aux) == 1
    other = theirs(images, labels=published)
    loss = FocalLoss(class_weight=1.0)(answer._replace(proposals=()), boxes, labels)
    near(loss.total, other.loss)
    for name, value in (("ce", loss.classes), ("bbox", loss.boxes), ("giou", loss.overlap)):
        near(value, other.loss_dict[f"loss_{name}"])
    loss.total.backward()
    other.loss.backward()
    core, mixer = theirs.model, ours.encoder.blocks[0].mixer.function
    cross, published_cross = (
        ours.decoder.blocks[1].cross.function,
        core.decoder.layers[1].encoder_attn,
    )
    pairs = [
        (mixer.offsets, core.encoder.layers[0].self_attn.sampling_offsets),
        (mixer.weights, core.encoder.layers[0].self_attn.attention_weights),
        (cross.offsets, published_cross.sampling_offsets),
        (cross.v, published_cross.value_proj),
        (ours.decoder.blocks[0].mixer.function.v, core.decoder.layers[0].self_attn.v_proj),
        (ours.projections.layers[-1][0], core.input_proj[-1][0]),
        (ours.class_heads[-1], theirs.class_embed[-1 if kind != "two stages" else -2]),
        (ours.box_heads[0].layers[2], theirs.bbox_embed[0].layers[2]),
        (ours.backbone.layer4[0].conv1, core.backbone.model.encoder.stages[3].layers[0].layer[0].convolution),
    ]  # fmt: skip
    pairs += [] if kind == "two stages" else [(ours.reference, core.reference_points)]
    for a, b in pairs:
        expected = b.weight.grad
        assert (a.weight.grad - expected).norm() <= 1e-4 * expected.norm()
    if kind == "two stages":
        proposals_learn_where_objects_are(answer, other, boxes, published)


def proposals_learn_where_objects_are(answer, other, boxes, published) -> None:
    """transformers 5.23 leaves what tokens propose without a loss; here it is its criterion, of one class."""
    [proposals] = answer.proposals
    near(proposals.logits, other.enc_outputs_class)
    near(proposals.boxes, other.enc_outputs_coord_logits.sigmoid())
    criterion = DeformableDetrImageLoss(
        DeformableDetrHungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2), 5, 0.25, ["labels", "boxes"]
    )  # fmt: skip
    found = {"logits": proposals.logits, "pred_boxes": proposals.boxes}
    parts = criterion(
        found, [{**one, "class_labels": one["class_labels"] * 0} for one in published]
    )
    wanted = parts["loss_ce"] + 5 * parts["loss_bbox"] + 2 * parts["loss_giou"]
    labels = [one["class_labels"] for one in published]
    loss = FocalLoss(class_weight=1.0)
    rest = loss(answer._replace(proposals=()), boxes, labels).total
    near(loss(answer, boxes, labels).total - rest, wanted)


def test_files_that_name_each_layer_of_the_heads_are_read_and_written(tmp_path: Path) -> None:
    """Published ones name the layers of refined boxes twice, and those that blocks share once for each."""
    for kind in KINDS:
        theirs, folder = theirs_of(kind), tmp_path / kind.replace(" ", "_")
        ours = ours_of(theirs, folder)
        state = {k: v.clone() for k, v in theirs.state_dict().items()}
        if kind == "refined":
            for name in state:
                if name.endswith("class_embed.1.bias"):
                    state[name] += 1
        save_file(state, folder / "model.safetensors")
        assert len(load_file(folder / "model.safetensors")) == len(state)
        again = from_pretrained(folder).eval()
        assert isinstance(again, DeformableDETR)
        check_round_trip(folder, folder / "back")
        images = torch.randn(1, 3, 96, 128)
        near(again(images).boxes, ours(images).boxes)
        near(again(images).logits, ours(images).logits + (kind == "refined"))
        assert len(again.class_heads) == (1 if kind in ("plain", "one scale") else 2)


@pytest.mark.parametrize("two_stage", [False, True])
def test_a_picture_gives_in_any_batch_what_it_gives_alone(two_stage: bool) -> None:
    torch.manual_seed(0)
    model = small(two_stage=two_stage).eval()
    images = torch.full((3, 3, 64, 96), float("nan"))
    sizes = [(64, 48), (48, 96), (64, 48)]
    for place, (height, width) in enumerate(sizes):
        images[place, :, :height, :width] = torch.rand(3, height, width)
    found = model(images, sizes)
    for place, (height, width) in enumerate(sizes):
        alone = model(images[place : place + 1, :, :height, :width])
        near(found.logits[place], alone.logits[0])
        near(found.boxes[place], alone.boxes[0])
    boxes, labels = objects(2, 0, 3)
    answer = model.train()(images, sizes)
    assert [one.rows for one in answer.proposals] == ([[0, 2], [1]] if two_stage else [])
    assert FocalLoss()(answer, boxes, [one % 4 for one in labels]).total.isfinite()


def small(classes: int = 4, **options: Any) -> DeformableDETR:
    backbone = ResNet(
        depths=(1, 1, 1), widths=(8, 12, 16), bottleneck=False, stem=8, out_indices=(1, 2)
    )
    sizes: dict[str, Any] = {"dim": 16, "heads": 2, "queries": 6, "levels": 3}
    depths = {"encoder_depth": 1, "decoder_depth": 2}
    return DeformableDETR(num_classes=classes, backbone=backbone, **{**sizes, **depths, **options})


@pytest.mark.parametrize("options", [{}, {"refine": False, "levels": 1}, {"two_stage": True}])
def test_what_is_saved_comes_back_and_takes_other_classes(
    options: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = small(**options).eval()
    images = torch.rand(1, 3, 64, 64)
    found = model(images)
    # Every class is unlikely at first, and where nothing was proposed boxes are small.
    for head in model.class_heads:
        torch.testing.assert_close(head.bias.sigmoid(), torch.full((4,), 0.01))
    assert found.logits.sigmoid().mean() < 0.05
    if not model.selection:
        torch.testing.assert_close(found.boxes[..., 2:].mean(), torch.tensor(-2.0).sigmoid())
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(tmp_path / "model").eval()
    torch.testing.assert_close(again(images), found, rtol=0, atol=0)
    other = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert isinstance(other, DeformableDETR)
    assert other(images).logits.shape == (1, 6, 7)
    near(other(images).boxes if not other.selection else found.boxes, found.boxes)


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="two_stage=True needs refine=True"):
        small(two_stage=True, refine=False)
    with pytest.raises(UserError, match="levels 0"):
        small(levels=0)
    backbone = ResNet(
        depths=(1,) * 4, widths=(8,) * 4, bottleneck=False, stem=8, out_indices=(1, 2, 3)
    )
    with pytest.raises(UserError, match="levels 2 are fewer than the 3 maps"):
        DeformableDETR(num_classes=2, backbone=backbone, dim=16, heads=2, levels=2)
