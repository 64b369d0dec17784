"""D-FINE against transformers: same weights, same answers, same gradients, same losses of edges."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.loss.loss_d_fine import DFineLoss

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers import HGNetV2, fused
from headway.vision.layers.sampling_attention import SamplingAttention
from headway.vision.models import DFINE
from headway.vision.models.edge_bins import EdgeBins
from headway.vision.tasks.fine_loss import FineLoss


def theirs_of(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    backbone = transformers.HGNetV2Config(
        stem_channels=[3, 8, 8], stage_in_channels=[8, 16, 24, 32], stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 24, 32, 40], stage_num_blocks=[1, 1, 2, 1],
        stage_numb_of_layers=[2, 1, 2, 1], embedding_size=8, hidden_sizes=[16, 24, 32, 40],
        depths=[1, 1, 1, 1], out_features=["stage2", "stage3", "stage4"],
        use_learnable_affine_block=options.pop("affine", True),
    )  # fmt: skip
    small: dict[str, Any] = {
        "backbone_config": backbone, "d_model": 32, "encoder_hidden_dim": 24,
        "encoder_in_channels": [24, 32, 40], "decoder_in_channels": [24] * 3, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 48, "num_queries": 12,
        "decoder_layers": 3, "num_labels": 5, "hidden_expansion": 0.5, "num_denoising": 10,
        "decoder_n_points": [3, 6, 3], "depth_mult": 0.34,
    }  # fmt: skip
    model = transformers.DFineForObjectDetection(transformers.DFineConfig(**{**small, **options}))
    stir_(model, but=(".up", ".reg_scale"))
    return model.eval()


def ours_of(theirs: nn.Module, folder: Path) -> DFINE:
    theirs.save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    transformers.RTDetrImageProcessor(size={"height": 96, "width": 96}).save_pretrained(folder)
    ours = from_pretrained(folder).eval()
    assert isinstance(ours, DFINE)
    return ours


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "affine": False,
            "encoder_hidden_dim": 32,
            "decoder_in_channels": [32] * 3,
            "freeze_backbone_batch_norms": False,
            "decoder_n_points": 4,
            "num_denoising": 0,
        },
    ],
)
def test_answers_and_gradients_equal_theirs(options: dict[str, Any], tmp_path: Path) -> None:
    theirs = theirs_of(**options)
    ours = ours_of(theirs, tmp_path)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    assert ours.pretrained_cfg["shortest"] == 96
    images = torch.rand(2, 3, 96, 64)
    mine, other = ours(images), theirs(images)
    near(mine.logits, other.logits)
    near(mine.boxes, other.pred_boxes)
    (mine.logits.square().sum() + mine.boxes.square().sum()).backward()
    (other.logits.square().sum() + other.pred_boxes.square().sum()).backward()
    core, block = theirs.model, ours.decoder.blocks[1]
    layer, stages = core.decoder.layers[1], core.backbone.model.encoder.stages
    for a, b in (
        (ours.backbone.stem2a.conv, core.backbone.model.embedder.stem2a.convolution),
        (ours.backbone.stages[0].blocks[0].layers[1].conv, stages[0].blocks[0].layers[1].convolution),
        (ours.backbone.stages[2].blocks[1].layers[1][1].conv, stages[2].blocks[1].layers[1].conv2.convolution),
        (ours.encoder.up[0].near.blocks[0].wide.conv, core.encoder.fpn_blocks[0].csp_rep1.bottlenecks[0].conv1.conv),
        (ours.encoder.shrink[1][1].conv, core.encoder.downsample_convs[1].conv2.conv),
        (block.cross.gate, layer.gateway.gate),
        (block.cross.function.offsets, layer.encoder_attn.sampling_offsets),
        (block.mixer.function.v, layer.self_attn.v_proj),
        (ours.quality[2].layers[0], core.decoder.lqe_layers[2].reg_conf.layers[0]),
        (ours.box_heads[0].layers[2], core.decoder.bbox_embed[0].layers[2]),
    ):  # fmt: skip
        expected = b.weight.grad
        assert (a.weight.grad - expected).norm() <= 1e-4 * expected.norm()
    # Files that name the heads twice are written as they were, too.
    save_file(
        {k: v.clone() for k, v in theirs.state_dict().items()}, tmp_path / "model.safetensors"
    )
    assert "class_embed.0.weight" in load_file(tmp_path / "model.safetensors")
    again = from_pretrained(tmp_path).eval()
    check_round_trip(tmp_path, tmp_path / "twice")
    near(again(images).boxes, mine.boxes)


def objects(*counts: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    boxes = [torch.rand(count, 4, generator=generator) * 0.4 + 0.2 for count in counts]
    labels = [torch.randint(5, (count,), generator=generator) for count in counts]
    return boxes, labels


@pytest.mark.parametrize("counts", [(3, 1), (0, 2), (0, 0)])
def test_the_losses_equal_theirs(counts: tuple[int, int], tmp_path: Path) -> None:
    """Their criterion is given what the authors' is: each block with its own edges, and the last one, too.

    transformers 5.23 itself pairs the answer of each block with the edges of the next one, and leaves out the
    last but one.
    """
    theirs = theirs_of()
    ours = ours_of(theirs, tmp_path)
    images = torch.rand(2, 3, 96, 64)
    boxes, labels = objects(*counts)
    published = [
        {"class_labels": label, "boxes": box} for label, box in zip(labels, boxes, strict=True)
    ]
    ours.train()
    theirs.train()
    torch.manual_seed(3)
    other = theirs.model(images, labels=published)
    torch.manual_seed(3)
    answer = ours.taught(images, None, boxes, labels)
    known = other.intermediate_logits.shape[2] - 12
    parts = {
        "logits": other.intermediate_logits,
        "pred_boxes": other.intermediate_reference_points.clamp(0, 1),
        "pred_corners": other.intermediate_predicted_corners,
        "ref_points": other.initial_reference_points,
    }

    def answers(rows: slice) -> list[dict[str, Tensor]]:
        cut = {name: part[:, :, rows] for name, part in parts.items()}
        found = [{name: cut[name][:, 0] for name in ("logits", "pred_boxes")}]
        last = {
            "teacher_corners": cut["pred_corners"][:, -1],
            "teacher_logits": cut["logits"][:, -1],
        }
        for place in range(3):
            edges = {name: cut[name][:, place] for name in ("pred_corners", "ref_points")}
            pair = {name: cut[name][:, place + 1] for name in ("logits", "pred_boxes")}
            found.append({**pair, **edges, **last})
        return found

    first, *blocks, last = answers(slice(known, None))
    encoded = {"logits": other.enc_topk_logits, "pred_boxes": other.enc_topk_bboxes}
    outputs: dict[str, Any] = {**last, "auxiliary_outputs": [encoded, first, *blocks]}
    if known:
        outputs["dn_auxiliary_outputs"] = answers(slice(known))
        outputs["denoising_meta_values"] = other.denoising_meta_values
    expected = DFineLoss(theirs.config)(outputs, published)
    assert any("loss_ddf_aux" in name and value for name, value in expected.items())
    total = sum(expected.values())
    loss = FineLoss()(answer, boxes, labels).total
    near(loss, total)
    pairs = (
        (ours.box_heads[0].layers[0].weight, theirs.model.decoder.bbox_embed[0].layers[0].weight),
        (
            ours.decoder.blocks[0].cross.gate.weight,
            theirs.model.decoder.layers[0].gateway.gate.weight,
        ),
    )
    for a, b in pairs:
        one, two = (
            torch.autograd.grad(loss, a, retain_graph=True)[0],
            torch.autograd.grad(total, b, retain_graph=True)[0],
        )
        assert (one - two).norm() <= 1e-4 * two.norm()


def small(classes: int = 4, **options: Any) -> DFINE:
    backbone = HGNetV2(
        stem=(8, 8), middles=(8,) * 4, widths=(8, 12, 16, 24), depths=(1,) * 4, layers=1
    )
    sizes: dict[str, Any] = {"dim": 32, "heads": 2, "queries": 6, "depth": 2}
    return DFINE(num_classes=classes, backbone=backbone, **{**sizes, **options})


def test_a_picture_gives_in_any_batch_what_it_gives_alone() -> None:
    torch.manual_seed(0)
    model = small().eval()
    images = torch.full((3, 3, 96, 128), float("nan"))
    sizes = [(96, 64), (64, 128), (96, 64)]
    for place, (height, width) in enumerate(sizes):
        images[place, :, :height, :width] = torch.rand(3, height, width)
    found = model(images, sizes)
    for place, (height, width) in enumerate(sizes):
        alone = model(images[place : place + 1, :, :height, :width])
        near(found.logits[place], alone.logits[0])
        near(found.boxes[place], alone.boxes[0])
    boxes, labels = objects(2, 0, 3)
    taught = model.train().taught(images, sizes, boxes, [one % 4 for one in labels])
    assert [len(one) for one in taught.aux] == [2, 2, 4]
    assert FineLoss()(taught, boxes, [one % 4 for one in labels]).total.isfinite()


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small(learned_queries=True).eval()
    images = torch.rand(1, 3, 64, 64)
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(tmp_path / "model").eval()
    torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)
    torch.testing.assert_close(
        fused(model.double())(images.double()).boxes,
        model(images.double()).boxes,
        atol=1e-5,
        rtol=0,
    )
    other = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert other(images).logits.shape == (1, 6, 7)


def test_steps_are_fine_near_zero_and_targets_lie_between_two() -> None:
    bins = EdgeBins(bins=8, reach=0.5, curve=4.0)
    steps = bins.steps()
    assert steps.tolist() == sorted(steps.tolist())
    near(steps, -steps.flip(0))
    near(steps[-1], torch.tensor(4.0))
    assert (steps.diff()[4:].diff() > 0).all()
    first = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    before, share = bins.targets(first, torch.tensor([[0.37, 0.3, 0.62, 5.0]]))
    moved = steps[before] * (1 - share) + steps[before + 1] * share
    logits = torch.full((1, 4, 9), -30.0)
    for edge in range(3):
        logits[0, edge, before[0, edge]] = (1 - share[0, edge]).log().clamp_min(-30)
        logits[0, edge, before[0, edge] + 1] = share[0, edge].log().clamp_min(-30)
    logits[0, 3, 8] = 30.0  # farther than the last step: that one alone
    near(moved[0, 3], steps[-1])
    box = bins.boxes(logits.flatten(1), first)[0]
    torch.testing.assert_close(box[0] - box[2] / 2, torch.tensor(0.37), atol=1e-4, rtol=0)
    torch.testing.assert_close(box[0] + box[2] / 2, torch.tensor(0.62), atol=1e-4, rtol=0)


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="bins 7"):
        EdgeBins(bins=7)
    with pytest.raises(UserError, match="need one positive number for each of 3 maps"):
        SamplingAttention(8, 2, points=[1, 2])
    with pytest.raises(UserError, match="edge_weight -1"):
        FineLoss(edge_weight=-1.0)
    with pytest.raises(UserError, match="need one per stage"):
        HGNetV2(widths=(8, 12))
