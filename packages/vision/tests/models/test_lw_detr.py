"""LW-DETR and RF-DETR against transformers: same weights, same answers, same gradients, same losses."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers import (
    GroupedSelfAttention,
    ImageTokens,
    ScaledProjections,
    TiledAttention,
)
from headway.vision.models import LWDETR, RFDETR, Features, SigmoidDetections, ViT
from headway.vision.tasks import AlignedLoss, FocalLoss


def theirs_of(scales: tuple[float, ...] = (2.0, 0.5)) -> Any:
    torch.manual_seed(0)
    backbone = transformers.LwDetrViTConfig(
        image_size=64, pretrain_image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=3,
        num_attention_heads=4, window_block_indices=[0, 2], out_indices=[2, 3], num_windows=4,
    )  # fmt: skip
    config = transformers.LwDetrConfig(
        backbone_config=backbone, projector_scale_factors=list(scales), d_model=32, num_queries=6, group_detr=3,
        decoder_layers=2, decoder_self_attention_heads=4, decoder_cross_attention_heads=2, decoder_ffn_dim=48,
        num_labels=4, c2f_num_blocks=1,
    )  # fmt: skip
    model = transformers.LwDetrForObjectDetection(config)
    stir_(model)
    return model.eval()


def objects(*counts: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    boxes = [torch.rand(count, 4, generator=generator) * 0.4 + 0.2 for count in counts]
    return boxes, [torch.randint(4, (count,), generator=generator) for count in counts]


def near(one: torch.Tensor, other: torch.Tensor, limit: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, atol=limit, rtol=limit)


def check_equal(
    ours: Any, theirs: Any, images: torch.Tensor, pairs: dict[str, tuple[str, ...]]
) -> None:
    """Compares answers, the loss of three groups in training, and the gradients of some parameters."""
    mine, other = ours(images), theirs(images)
    near(mine.logits, other.logits)
    near(mine.boxes, other.pred_boxes)
    boxes, labels = objects(2, 3)
    wanted = [{"class_labels": b, "boxes": a} for a, b in zip(boxes, labels, strict=True)]
    answer, expected = ours.train()(images), theirs.train()(images, labels=wanted)
    assert answer.groups == 3
    assert answer.logits.shape[1] == 3 * 6
    near(answer.logits, expected.logits)
    loss = AlignedLoss()(answer, boxes, labels)
    near(loss.total, expected.loss)
    for name, key in (("classes", "loss_ce"), ("boxes", "loss_bbox"), ("overlap", "loss_giou")):
        near(getattr(loss, name), expected.loss_dict[key])
    loss.total.backward()
    expected.loss.backward()
    parameters, known = dict(ours.named_parameters()), dict(theirs.named_parameters())
    for name, names in pairs.items():
        wanted = torch.cat([known[one].grad for one in names])
        assert (parameters[name].grad - wanted).norm() <= 1e-4 * wanted.norm(), name


@pytest.mark.parametrize(
    ("scales", "generation"), [((2.0, 0.5), "4.x"), ((2.0, 0.5), "5.x"), ((1.0,), "4.x")]
)
def test_answers_gradients_and_losses_equal_theirs(
    scales: tuple[float, ...], generation: str, tmp_path: Path
) -> None:
    theirs = theirs_of(scales)
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    if generation == "5.x":
        save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, path)
    assert any(".attention.q_proj." in name for name in load_file(path)) == (generation == "5.x")
    ours: Any = from_pretrained(tmp_path).eval()
    assert isinstance(ours, LWDETR)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    back, block = "model.backbone.backbone.", "model.decoder.layers.0."
    images = torch.randn(2, 3, 48, 64)
    pairs = {
        "backbone.model.embedding.weight": (f"{back}embeddings.projection.weight",),
        "backbone.model.tokens.position.table": (f"{back}embeddings.position_embeddings",),
        "backbone.model.encoder.blocks.0.mixer.function.qkv.weight": tuple(
            f"{back}encoder.layer.0.attention.{one}_proj.weight" for one in "qkv"
        ),
        "projections.blocks.0.steps.0.1.conv.weight": (
            "model.backbone.projector.scale_layers.0.projector_layer.bottlenecks.0.conv2.conv.weight",
        ),
        "decoder.blocks.0.mixer.function.qk.weight": tuple(
            f"{block}self_attn.{one}_proj.weight" for one in "qk"
        ),
        "decoder.blocks.0.cross.function.offsets.weight": (
            f"{block}cross_attn.sampling_offsets.weight",
        ),
        "first": ("model.query_feat.weight",),
        "first_boxes": ("model.reference_point_embed.weight",),
        "selections.2.box_head.layers.0.weight": ("model.enc_out_bbox_embed.2.layers.0.weight",),
        "class_head.weight": ("class_embed.weight",),
    }
    check_equal(ours, theirs, images, pairs)


def rf_detr_of() -> Any:
    torch.manual_seed(0)
    backbone = transformers.RfDetrDinov2Config(
        image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_windows=2,
        out_indices=[1, 3], mlp_ratio=2,
    )  # fmt: skip
    config = transformers.RfDetrConfig(
        backbone_config=backbone, d_model=32, num_queries=6, group_detr=3, decoder_layers=2,
        decoder_self_attention_heads=4, decoder_cross_attention_heads=2, decoder_ffn_dim=48, num_labels=4,
        c2f_num_blocks=1, dropout=0.0,
    )  # fmt: skip
    model = transformers.RfDetrForObjectDetection(config)
    stir_(model)
    return model.eval()


@pytest.mark.parametrize("generation", ["Roboflow's", "5.x"])
def test_an_rf_detr_equals_theirs(generation: str, tmp_path: Path) -> None:
    theirs = rf_detr_of()
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    assert "refpoint_embed.weight" in load_file(path)
    if generation == "5.x":
        save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, path)
    ours: Any = from_pretrained(tmp_path).eval()
    assert isinstance(ours, RFDETR)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    back, block = "model.backbone.backbone.", "model.decoder.layers.1."
    pairs = {
        "backbone.model.tokens.class_token": (f"{back}embeddings.cls_token",),
        "backbone.model.tokens.position.table": (f"{back}embeddings.position_embeddings",),
        "backbone.model.encoder.blocks.1.mixer.function.qkv.weight": tuple(
            f"{back}encoder.layer.1.attention.{one}_proj.weight" for one in "qkv"
        ),
        "backbone.model.encoder.blocks.0.mixer.scale.gamma": (
            f"{back}encoder.layer.0.layer_scale1.lambda1",
        ),
        "projections.blocks.0.first.norm.weight": (
            "model.backbone.projector.projector_layer.conv1.norm.weight",
        ),
        "decoder.blocks.1.mixer.function.v.weight": (f"{block}self_attn.v_proj.weight",),
        "first": ("model.query_feat.weight",),
        "class_head.weight": ("class_embed.weight",),
    }
    # Theirs cuts pictures that are no squares into tiles with rows and columns exchanged.
    check_equal(ours, theirs, torch.randn(2, 3, 64, 64), pairs)


def of_roboflow(folder: Path, **changes: Any) -> Path:
    """A file as Roboflow's program writes it: tensors, and what the program was told."""
    rf_detr_of().save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    # Heads of 64 channels, as DINOv2 has them, are one here.
    told: dict[str, Any] = {
        "num_windows": 2, "out_feature_indexes": [1, 3], "num_queries": 6, "sa_nheads": 4, "ca_nheads": 2,
        "dec_n_points": 4, "dec_layers": 2, "resolution": 64, "num_classes": 3, "class_names": ["cat", "dog"],
        "dataset_file": "roboflow", "projector_scale": ["P4"], "two_stage": True,
    }  # fmt: skip
    file = folder / "files" / "rf-detr.pth"
    file.parent.mkdir()
    torch.save({"model": state, "args": argparse.Namespace(**{**told, **changes})}, file)
    return file


def test_files_of_its_authors_are_read_with_their_classes_and_written_back(tmp_path: Path) -> None:
    file = of_roboflow(tmp_path)
    model: Any = from_pretrained(file).eval()
    assert isinstance(model, RFDETR)
    # Ids begin with 1 there, and the last place stands for no object.
    assert model.pretrained_cfg["label_names"] == ["N/A", "cat", "dog", "N/A"]
    assert model.pretrained_cfg["category_ids"] == [0, 1, 2, 3]
    shown = {name: model.pretrained_cfg[name] for name in ("shortest", "stretch", "multiple")}
    assert shown == {"shortest": 64, "stretch": True, "multiple": 16}
    check_round_trip(file, tmp_path / "back")
    # All but the number of heads, which shapes do not tell, is as transformers reads it.
    theirs = rf_detr_of()
    for layer in theirs.model.backbone.backbone.encoder.layer:
        layer.attention.head_dim, layer.attention.scaling = 32, 32**-0.5
    for part in theirs.model.backbone.projector.projector_layer.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = 1e-6
    images = torch.randn(1, 3, 64, 64)
    near(model(images).logits, theirs(images).logits)
    yolo = from_pretrained(of_roboflow(tmp_path / "yolo", dataset_file="yolo"))
    assert yolo.pretrained_cfg["label_names"][:2] == ["cat", "dog"]  # pyright: ignore


class Foreign:
    """Not a tensor."""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_windows": None}, "does not say its num_windows"),
        ({"two_stage": False}, "two_stage=False; only RF-DETRs with True"),
        ({"projector_scale": ["P3", "P5"]}, r"only \['P4'\] is read"),
        ({"callbacks": Foreign()}, "pickled code: .*Foreign.*never executed"),
    ],
)
def test_files_of_its_authors_that_are_not_read_say_why(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        from_pretrained(of_roboflow(tmp_path, **changes))


def backbone(tiles: int = 2) -> Features:
    model = ViT(
        image_size=64, num_classes=0, dim=16, depth=2, heads=2, final_norm=False,
        embedding=partial(PatchEmbedding, patch=8),
        tokens=partial(ImageTokens, class_token=False),
        mixer=[partial(TiledAttention, tiles=tiles), SelfAttention],
    )  # fmt: skip
    return Features(model, [0, 1])


def small(**options: Any) -> LWDETR:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "dim": 16,
        "heads": 2,
        "cross_heads": 2,
        "queries": 5,
        "groups": 3,
        "depth": 2,
    }
    return LWDETR(num_classes=3, backbone=backbone(), **{**sizes, **options})


def test_a_tile_sees_itself_alone_and_one_tile_is_the_whole_map() -> None:
    torch.manual_seed(0)
    mixer, plain = TiledAttention(8, 2, tiles=2), SelfAttention(8, 2)
    plain.load_state_dict(mixer.state_dict())
    layout = Layout(grid=(4, 6), prefix=4)
    x = torch.randn(2, 4 + 24, 8)
    out = mixer(x, layout)
    # The second tile of the first row: columns 3 to 5 of rows 0 and 1, and its own token in front.
    own = [1, *(4 + row * 6 + column for row in (0, 1) for column in (3, 4, 5))]
    near(out[:, own], plain(x[:, own]))
    assert (out - plain(x, layout)).abs().max() > 1e-3
    mixer.tiles = 1
    near(mixer(x[:, 4:], Layout(grid=(4, 6))), plain(x[:, 4:]))
    with pytest.raises(UserError, match="4x5 tokens has no 2x2 equal tiles"):
        TiledAttention(8, 2, tiles=2)(torch.randn(1, 20, 8), Layout(grid=(4, 5)))


def test_groups_do_not_see_each_other_and_each_is_matched_with_all_objects() -> None:
    model = small().train()
    stir_(model)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    images = torch.randn(2, 3, 32, 48)
    answer = model(images)
    # What the first group answers in training is what the model answers.
    alone = model.eval()(images)
    near(answer.logits[:, :5], alone.logits)
    near(answer.boxes[:, :5], alone.boxes)
    # With plain self-attention among all queries it is not.
    plain = small(mixer=_ungrouped)
    plain.load_state_dict(model.state_dict())
    for part in plain.train().modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    assert (plain(images).logits[:, :5] - alone.logits).abs().max() > 1e-4
    # The loss is the mean of what each group's own loss would be.
    boxes, labels = objects(2, 1)
    labels = [one % 3 for one in labels]
    parts = [
        FocalLoss()(SigmoidDetections(a, b), boxes, labels).total
        for a, b in zip(answer.logits.split(5, 1), answer.boxes.split(5, 1), strict=True)
    ]
    whole = SigmoidDetections(answer.logits, answer.boxes, groups=3)
    near(FocalLoss()(whole, boxes, labels).total, torch.stack(parts).mean())


def _ungrouped(dim: int, heads: int, *, size: int) -> GroupedSelfAttention:
    return GroupedSelfAttention(dim, heads, size=3 * size)


def test_the_score_that_is_wanted_grows_with_the_overlap() -> None:
    wanted = torch.tensor([[0.5, 0.5, 0.4, 0.4]])
    grads = []
    for shift in (0.0, 0.1, 0.3):
        logits = torch.full((1, 1, 2), 0.5, requires_grad=True)
        boxes = wanted[None] + torch.tensor([shift, 0.0, 0.0, 0.0])
        AlignedLoss(box_weight=0.0, overlap_weight=0.0)(
            SigmoidDetections(logits, boxes), [wanted], [torch.tensor([1])]
        ).total.backward()
        grads.append(logits.grad[0, 0])  # pyright: ignore
    # A box that fits pulls its score up, one beside the object down; the other class falls alike.
    assert grads[0][1] < grads[1][1] < grads[2][1]
    assert grads[0][1] < 0 < grads[2][1]
    near(grads[0][0], grads[2][0])
    with pytest.raises(UserError, match=r"own 1.5 must lie in \[0, 1\]"):
        AlignedLoss(own=1.5)


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    model, images = small().eval(), torch.rand(1, 3, 32, 48)
    found = model(images)
    near(model.class_head.bias.sigmoid(), torch.full((3,), 0.01))
    save_pretrained(model, tmp_path / "model")
    again: Any = from_pretrained(tmp_path / "model").eval()
    near(again(images).logits, found.logits, 0.0)
    other: Any = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert other(images).logits.shape == (1, 5, 7)
    assert [one.class_head.out_features for one in other.selections] == [7] * 3


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="groups 0"):
        small(groups=0)
    with pytest.raises(UserError, match="must be 2, 1 or 0.5"):
        ScaledProjections([8], 8, scales=(4.0,))
    with pytest.raises(UserError, match="16 tokens for 20 queries"):
        small(queries=20)(torch.rand(1, 3, 32, 32))
