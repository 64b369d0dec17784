"""ViDT: detection tokens in a Swin, with a decoder or without, and the joint losses of ViDT+."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import WindowAttention
from headway.core.positions import NormalizedSinusoidalPosition
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.core.weights.checkpoint import Checkpoint
from headway.vision.layers import ReconfiguredAttention
from headway.vision.models import SigmoidDetections, Swin, ViDT, reconfigured_swin
from headway.vision.models.detections import Labelled
from headway.vision.tasks import FocalLoss, JointLoss
from headway.vision.tasks.joint_loss import covered
from headway.vision.weights.vidt_files import adapter


def near(one: torch.Tensor, other: torch.Tensor, limit: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, atol=limit, rtol=limit)


def small(*, cross: tuple[int, ...] = (-1,), **options: Any) -> ViDT:
    torch.manual_seed(0)
    swin = reconfigured_swin(
        dim=16, depths=(2, 2), heads=(2, 2), window=4, position_dim=16, cross=cross
    )
    sizes: dict[str, Any] = {"dim": 16, "heads": 2, "queries": 5, "depth": 2, **options}
    model = ViDT(num_classes=3, backbone=swin, **sizes)
    stir_(model)
    return model.eval()


def objects() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    boxes = [[0.3, 0.4, 0.2, 0.3], [0.7, 0.5, 0.4, 0.4], [0.5, 0.5, 0.5, 0.5]]
    whole = torch.tensor(boxes)
    return [whole[:2], whole[2:]], [torch.tensor([0, 2]), torch.tensor([1])]


@pytest.mark.parametrize("cross", [False, True])
def test_tokens_in_front_share_the_weights_of_the_windows(cross: bool) -> None:
    torch.manual_seed(0)
    mixer = ReconfiguredAttention(16, 2, window=4, shift=2, cross=cross, position_dim=12).double()
    stir_(mixer)
    x, places = torch.randn(2, 3 + 96, 16).double(), torch.randn(1, 3, 12).double()
    out = mixer(x, Layout(grid=(8, 12), prefix=3, embedding=places))
    # Patches are those of a plain Swin.
    plain = WindowAttention(16, 2, window=4, shift=2).double()
    own = {name: value for name, value in mixer.state_dict().items() if "placing" not in name}
    plain.load_state_dict(own)
    near(out[:, 3:], plain(x[:, 3:], Layout(grid=(8, 12))))
    near(mixer(x[:, 3:], Layout(grid=(8, 12))), out[:, 3:])
    # Tokens in front see each other, or all patches with their rows and columns, too.
    front = x[:, :3] + F.linear(places, mixer.placing.weight, mixer.placing.bias)
    seen = front
    if cross:
        rows = NormalizedSinusoidalPosition(16)(Layout(grid=(8, 12)), 96)
        seen = torch.cat([x[:, 3:] + rows, front], dim=1)
    query = mixer.qkv(front).chunk(3, dim=-1)[0]
    _, key, value = mixer.qkv(seen).chunk(3, dim=-1)
    query, key, value = (one.unflatten(2, (2, 8)).transpose(1, 2) for one in (query, key, value))
    weights = (query @ key.mT / 8**0.5).softmax(-1)
    near(out[:, :3], mixer.projection((weights @ value).transpose(1, 2).flatten(2)))
    with pytest.raises(UserError, match="needs embedding= in the Layout"):
        mixer(x, Layout(grid=(8, 12), prefix=3))


def test_detection_tokens_read_the_picture_where_they_may_and_leave_patches_alone() -> None:
    images = torch.randn(2, 3, 64, 96)
    model = small()
    maps, queries = model.body(images)
    assert [tuple(one.shape[1:]) for one in maps] == [(32, 8, 12), (16, 4, 6)]
    assert (queries[0] - queries[1]).abs().max() > 1e-4
    # Without the last stage's reading they are the same for any picture: nothing was detected.
    _, blind = small(cross=()).body(images)
    near(blind[0], blind[1])
    # The maps are those of the Swin itself.
    own = model.backbone.forward_intermediates(images, [1], norm=False, intermediates_only=True)
    near(maps[0], own[0])


@pytest.mark.parametrize("depth", [0, 2])
def test_every_block_moves_the_boxes_of_the_one_before(depth: int) -> None:
    model, images = small(depth=depth).train(), torch.randn(2, 3, 64, 64)
    for part in model.modules():
        if hasattr(part, "rate") or type(part).__name__ == "Dropout":
            part.eval()
    answer = model(images)
    # Detection tokens answer by themselves, and then each block does.
    assert len(answer.aux) == depth
    near(model.eval()(images).boxes, answer.boxes)
    with torch.no_grad():
        for head in list(model.box_heads)[1:]:
            head.stay_()  # pyright: ignore[reportCallIssue]
    still = model.train()(images)
    for _, boxes in (*still.aux, (still.logits, still.boxes)):
        near(boxes, still.aux[0][1] if depth else still.boxes)


def test_a_query_learns_how_well_its_box_fits() -> None:
    boxes, labels = objects()
    logits = torch.zeros(2, 4, 3)
    found = torch.full((2, 4, 4), 0.1)
    found[0, 1], found[0, 3] = boxes[0][0], boxes[0][1] + torch.tensor([0.1, 0, 0, 0])
    found[1, 2] = boxes[1][0]
    said = torch.zeros(2, 4, requires_grad=True)
    answer = SigmoidDetections(logits, found, edges=(said,))
    plain = FocalLoss()(SigmoidDetections(logits, found), boxes, labels).total
    loss = JointLoss(label_weight=0.0)(answer, boxes, labels).total
    # Overlaps of matched queries: one that fits, one that is a quarter of its width beside, one that fits.
    fit = torch.tensor([1.0, 0.3 / 0.5, 1.0])
    wanted = F.binary_cross_entropy_with_logits(torch.zeros(3), fit, reduction="sum")
    near(loss, plain + 2.0 * wanted / 3)
    loss.backward()
    assert said.grad is not None
    # It is told to say more where the box fits better, and the others are not asked.
    assert said.grad[0, 1] < said.grad[0, 3] < 0
    assert said.grad[0, [0, 2]].abs().max() == 0
    near(JointLoss(fit_weight=0.0)(answer, boxes, labels).total, plain)


def test_tokens_learn_the_classes_of_the_boxes_that_they_lie_in() -> None:
    box = torch.tensor([[0.5, 0.25, 0.5, 0.5]])  # columns 1 to 3 of 4, rows 0 and 1 of 4
    share = covered(box, torch.tensor([1]), (4, 4), 3)
    wanted = torch.zeros(4, 4, 3)
    wanted[:2, 1:3, 1] = 1
    near(share, wanted.flatten(0, 1))
    near(covered(box, torch.tensor([1]), (2, 2), 3)[:, 1], torch.tensor([0.5, 0.5, 0, 0]))
    levels = ((4, 4), (2, 2))
    right = torch.cat([wanted.flatten(0, 1), covered(box, torch.tensor([1]), (2, 2), 3)])
    loss = JointLoss()
    losses = []
    for logits in ((right * 2 - 1) * 6, torch.zeros(20, 3), -(right * 2 - 1) * 6):
        labelled = Labelled([0], logits[None], levels)
        losses.append(loss.loss_of_labels(labelled, [box], [torch.tensor([1])], 1.0).item())
    assert losses[0] < losses[1] / 2 < losses[2] / 4
    assert FocalLoss().loss_of_labels(labelled, [box], [torch.tensor([1])], 1.0) == 0
    # It reaches the maps in training, and is no part of the answer afterwards.
    boxes, labels = objects()
    model = small(labels=True, overlaps=True)
    assert model(torch.randn(2, 3, 64, 64)).labelled == ()
    answer = model.train()(torch.randn(2, 3, 64, 64))
    assert answer.labelled[0].logits.shape == (2, 8 * 8 + 4 * 4, 3)
    loss.loss_of_labels(answer.labelled[0], boxes, labels, 3.0).backward()
    assert model.label_head is not None
    for part in (model.label_head, model.last.projection, model.backbone.embedding):
        assert part.weight.grad.abs().max() > 0  # pyright: ignore


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    model, images = small(labels=True, overlaps=True), torch.rand(1, 3, 64, 96)
    found = model(images)
    save_pretrained(model, tmp_path / "model")
    again: Any = from_pretrained(tmp_path / "model").eval()
    torch.testing.assert_close(again(images), found, rtol=0, atol=0)
    other: Any = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert other(images).logits.shape == (1, 5, 7)
    near(other(images).boxes, found.boxes)
    assert other.label_head.out_features == 7


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="depth of at least 1"):
        small(depth=0, labels=True)
    with pytest.raises(UserError, match="ReconfiguredAttention with position_dim=32"):
        small(dim=32)
    swin = Swin(num_classes=0, dim=16, depths=(1, 1), heads=(2, 2))
    with pytest.raises(UserError, match="got WindowAttention; use reconfigured_swin"):
        ViDT(num_classes=3, backbone=swin, dim=16, heads=2)
    with pytest.raises(UserError, match="fit_weight -1"):
        JointLoss(fit_weight=-1.0)


def test_files_of_its_authors_are_read_and_written_back(tmp_path: Path) -> None:
    model = small(labels=True, overlaps=True)
    state = adapter.table(Checkpoint("x", None, (), tmp_path), model).to_theirs(model.state_dict())
    assert state["backbone.layers.1.downsample.reduction.weight"].shape == (16, 128)
    assert "transformer.decoder.bbox_embed.2.layers.0.weight" in state
    # Of a norm that is not used, and an index that follows from the window.
    state["backbone.norm1.weight"] = torch.ones(32)
    state["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16).long()
    told = argparse.Namespace(nheads=2, cross_indices=[1])
    torch.save({"model": state, "args": told}, tmp_path / "vidt.pth")
    again: Any = from_pretrained(tmp_path / "vidt.pth").eval()
    assert isinstance(again, ViDT)
    images = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)
    check_round_trip(tmp_path / "vidt.pth", tmp_path / "back")
    torch.save({"model": {**state, "fusion.x": torch.ones(1)}}, tmp_path / "fused.pth")
    with pytest.raises(UserError, match=r"fuses its maps \(epff\)"):
        from_pretrained(tmp_path / "fused.pth")
