"""Conditional DETR against transformers: same weights, same answers, same gradients, same losses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers import ConditionalCrossAttention, ConditionalSelfAttention, ResNet
from headway.vision.models import ConditionalDETR
from headway.vision.tasks import FocalLoss


def theirs_of(**options: Any) -> nn.Module:
    # Not auxiliary_loss: with it transformers 5 norms what goes on to the next decoder layer, too, unlike
    # the authors' code and its own evaluation.
    torch.manual_seed(0)
    backbone = transformers.ResNetConfig(
        layer_type="basic", embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1],
        out_features=["stage4"],
    )  # fmt: skip
    small: dict[str, Any] = {
        "backbone_config": backbone, "d_model": 32, "num_queries": 6, "encoder_layers": 1, "decoder_layers": 3,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48, "num_labels": 5, "dropout": 0.0,
    }  # fmt: skip
    config = transformers.ConditionalDetrConfig(**{**small, **options})
    model = transformers.ConditionalDetrForObjectDetection(config)
    stir_(model)
    model.model.backbone.requires_grad_(True)
    return model.eval()


def objects(*counts: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    boxes = [torch.rand(count, 4, generator=generator) * 0.4 + 0.2 for count in counts]
    labels = [torch.randint(5, (count,), generator=generator) for count in counts]
    return boxes, labels


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("generation", ["4.x", "5.x"])
def test_answers_gradients_and_losses_equal_theirs(generation: str, tmp_path: Path) -> None:
    theirs = theirs_of()
    theirs.save_pretrained(tmp_path)  # pyright: ignore[reportCallIssue]
    transformers.ConditionalDetrImageProcessor(
        size={"shortest_edge": 96, "longest_edge": 128}
    ).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    assert any("ca_qcontent_proj" in name for name in load_file(path))  # the names of 4.x
    if generation == "5.x":
        save_file({k: v.clone() for k, v in theirs.state_dict().items()}, path)
    ours = from_pretrained(tmp_path).eval()
    assert isinstance(ours, ConditionalDETR)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    assert (ours.pretrained_cfg["shortest"], ours.pretrained_cfg["longest"]) == (96, 128)
    images = torch.randn(2, 3, 64, 96)
    boxes, labels = objects(3, 1)
    published = [
        {"class_labels": label, "boxes": box} for label, box in zip(labels, boxes, strict=True)
    ]
    mine, other = ours(images), theirs(images, labels=published)
    near(mine.logits, other.logits)
    near(mine.boxes, other.pred_boxes)
    loss = FocalLoss(class_weight=1.0, class_cost=2.0)(mine, boxes, labels)
    near(loss.total, other.loss)
    for name, value in (("ce", loss.classes), ("bbox", loss.boxes), ("giou", loss.overlap)):
        near(value, other.loss_dict[f"loss_{name}"])
    loss.total.backward()
    other.loss.backward()
    core = theirs.model
    for place in (0, 2):
        block, layer = ours.decoder.blocks[place], core.decoder.layers[place]
        for a, b in (
            (block.mixer.function.q_place, layer.self_attn.q_pos_proj),
            (block.mixer.function.v, layer.self_attn.v_proj),
            (block.cross.function.k_place, layer.encoder_attn.k_pos_proj),
            (block.cross.function.q_sine, layer.encoder_attn.q_pos_sine_proj),
            (block.feedforward.function.fc1, layer.mlp.fc1),
            (ours.reference[0], core.decoder.ref_point_head.layers[0]),
            (ours.query_scale[2], core.decoder.query_scale.layers[1]),
            (ours.projection, core.input_projection),
            (ours.backbone.layer4[0].conv1, core.backbone.model.encoder.stages[3].layers[0].layer[0].convolution),
        ):  # fmt: skip
            expected = b.weight.grad
            # A bias of queries alone moves no score at first: its gradient is rounding.
            assert (a.weight.grad - expected).norm() <= 1e-4 * expected.norm() + 1e-8
    other_blocks_learn_too(ours, images, boxes, labels, published)


def other_blocks_learn_too(ours, images, boxes, labels, published) -> None:
    answer = ours.train()(images)
    assert len(answer.aux) == 2
    near(answer.boxes, ours.eval()(images).boxes)
    logits, places = (torch.stack(one) for one in zip(*answer.aux, answer[:2], strict=True))
    config = SimpleNamespace(
        class_cost=2, bbox_cost=5, giou_cost=2, num_labels=5, focal_alpha=0.25, auxiliary_loss=True,
        bbox_loss_coefficient=5, giou_loss_coefficient=2, decoder_layers=3,
    )  # fmt: skip
    expected, _, _ = DeformableDetrForObjectDetectionLoss(
        logits[-1], published, "cpu", places[-1], config, logits, places
    )
    near(FocalLoss(class_weight=1.0, class_cost=2.0)(answer, boxes, labels).total, expected)


@pytest.mark.slow
def test_two_hundred_steps_of_training_give_the_losses_that_theirs_give(tmp_path: Path) -> None:
    """Same weights, pictures and optimiser: the losses differ by 2.3e-7 of themselves at most."""
    theirs = theirs_of()
    theirs.save_pretrained(tmp_path)  # pyright: ignore[reportCallIssue]
    ours = from_pretrained(tmp_path)
    generator = torch.Generator().manual_seed(0)
    boxes, labels = objects(3, 1)
    batches = [torch.randn(2, 3, 48, 64, generator=generator) for _ in range(8)]
    published = [
        {"class_labels": label, "boxes": box} for label, box in zip(labels, boxes, strict=True)
    ]
    loss = FocalLoss(class_weight=1.0, class_cost=2.0)
    steps = []
    for model in (ours, theirs):
        model.requires_grad_(True).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4)
        losses = []
        for step in range(200):
            images = batches[step % 8]
            if model is ours:
                value = loss(ours(images)._replace(aux=()), boxes, labels).total
            else:
                value = theirs(images, labels=published).loss
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            losses.append(value.item())
        steps.append(torch.tensor(losses))
    assert steps[0][-1] < 0.8 * steps[0][0]
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-5, atol=0.0)


def small(classes: int = 4, **options: Any) -> ConditionalDETR:
    backbone = ResNet(depths=(1, 1, 1), widths=(8, 12, 16), bottleneck=False, stem=8)
    sizes: dict[str, Any] = {"dim": 16, "heads": 2, "queries": 6}
    depths = {"encoder_depth": 1, "decoder_depth": 2}
    return ConditionalDETR(num_classes=classes, backbone=backbone, **{**sizes, **depths, **options})


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small().eval()
    images = torch.rand(1, 3, 64, 64)
    found = model(images)
    # Every class is unlikely at first, and a box stands where its query looks.
    torch.testing.assert_close(model.class_head.bias.sigmoid(), torch.full((4,), 0.01))
    near(found.boxes[0, :, :2], model.reference(model.queries).sigmoid())
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(tmp_path / "model").eval()
    torch.testing.assert_close(again(images), found, rtol=0, atol=0)
    other = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert other(images).logits.shape == (1, 6, 7)
    near(other(images).boxes, found.boxes)


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="queries 0"):
        small(queries=0)
    x = torch.zeros(1, 2, 8)
    with pytest.raises(UserError, match="ConditionalSelfAttention needs embedding="):
        ConditionalSelfAttention(8, 2)(x)
    with pytest.raises(UserError, match="needs context= and context_layout="):
        ConditionalCrossAttention(8, 2)(x, Layout(embedding=torch.zeros(1, 2, 16)))
