"""RT-DETR against transformers: same weights, same answers, same gradients, same loss with noisy objects."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headway.core.backbones import ResNetD
from headway.core.errors import UserError
from headway.core.mixers import DeformableAttention
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained, save_published
from headway.vision.layers import DiscreteDeformableAttention, HybridEncoder, RepBlock, fused
from headway.vision.models import RTDETR, SigmoidDetections
from headway.vision.models.denoising import ContrastiveDenoising
from headway.vision.models.detections import found_objects
from headway.vision.models.query_selection import expected_boxes
from headway.vision.tasks import VarifocalLoss

QUERIES = 12
KINDS = {
    "v1": (transformers.RTDetrConfig, transformers.RTDetrForObjectDetection),
    "v2": (transformers.RTDetrV2Config, transformers.RTDetrV2ForObjectDetection),
}


def theirs_of(kind: str = "v1", layer: str = "basic", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    # A first stage that is wider than the stem has a shortcut with bottlenecks, too.
    widths = [16 if layer == "basic" else 20, 24, 32, 48]
    backbone = transformers.RTDetrResNetConfig(
        layer_type=layer, embedding_size=16, hidden_sizes=widths, depths=[1, 2, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    small = {
        "backbone_config": backbone, "d_model": 32, "encoder_hidden_dim": 24, "encoder_in_channels": widths[1:],
        "decoder_in_channels": [24] * 3, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 40, "decoder_ffn_dim": 48, "num_queries": QUERIES, "decoder_layers": 2,
        "num_labels": 5, "hidden_expansion": 0.5, "num_denoising": 10,
    }  # fmt: skip
    configuration, model_class = KINDS[kind]
    model = model_class(configuration(**{**small, **options}))
    stir_(model)
    if options.get("learn_initial_query"):
        # transformers 5.23 asks the layer itself for as many copies as pictures, and fails.
        first = model.model.weight_embedding
        first.tile = first.weight.tile
    return model.eval()


def ours_of(theirs: nn.Module, folder: Path) -> RTDETR:
    theirs.save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    ours = from_pretrained(folder).eval()
    assert isinstance(ours, RTDETR)
    return ours


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[RTDETR, nn.Module]:
    theirs = theirs_of()
    return ours_of(theirs, tmp_path_factory.mktemp("rt_detr")), theirs


@pytest.mark.parametrize(
    ("kind", "layer", "options"),
    [
        ("v1", "basic", {}),
        ("v1", "bottleneck", {"hidden_expansion": 1.0, "num_denoising": 0}),
        ("v2", "basic", {"freeze_backbone_batch_norms": False}),
        ("v2", "basic", {"decoder_method": "discrete"}),
        ("v2", "basic", {"learn_initial_query": True}),
    ],
)
def test_answers_and_gradients_equal_theirs(
    kind: str, layer: str, options: dict[str, Any], tmp_path: Path
) -> None:
    theirs = theirs_of(kind, layer, **options)
    ours = ours_of(theirs, tmp_path)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    images = torch.rand(2, 3, 96, 64)
    mine, other = ours(images), theirs(images)
    torch.testing.assert_close(mine.logits, other.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.boxes, other.pred_boxes, atol=1e-5, rtol=1e-5)
    (mine.logits.square().sum() + mine.boxes.square().sum()).backward()
    (other.logits.square().sum() + other.pred_boxes.square().sum()).backward()
    core, attention = theirs.model, ours.decoder.blocks[1].cross.function
    published = core.decoder.layers[1].encoder_attn
    stage = core.backbone.model.encoder.stages
    for a, b in (
        (ours.backbone.conv1[0].weight, core.backbone.model.embedder.embedder[0].convolution),
        (ours.backbone.layer1[0].downsample[1].weight, stage[0].layers[0].shortcut.convolution),
        (ours.backbone.layer3[0].downsample[1].weight, stage[2].layers[0].shortcut[1].convolution),
        (ours.encoder.up[0].blocks[1].wide.conv.weight, core.encoder.fpn_blocks[0].bottlenecks[1].conv1.conv),
        (ours.encoder.shrink[1].norm.weight, core.encoder.downsample_convs[1].norm),
        (ours.encoder.encoder.blocks[0].mixer.function.v.weight, core.encoder.aifi[0].layers[0].self_attn.v_proj),
        (ours.projections[2].conv.weight, core.decoder_input_proj[2][0]),
        (attention.offsets.weight, published.sampling_offsets),
        (attention.v.weight, published.value_proj),
        (ours.query_position[2].weight, core.decoder.query_pos_head.layers[1]),
        (ours.box_heads[1].layers[2].weight, core.decoder.bbox_embed[1].layers[2]),
    ):  # fmt: skip
        expected = b.weight.grad
        if expected is None:  # between two tokens there is nothing to learn
            assert options["decoder_method"] == "discrete"
            assert a.grad is None
            continue
        assert (a.grad - expected).norm() <= 1e-4 * expected.norm()


def test_discrete_sampling_reads_single_tokens() -> None:
    torch.manual_seed(0)
    mixer = DiscreteDeformableAttention(8, 2, levels=1, points=1)
    value = torch.randn(1, 6, 2, 4)
    at = torch.tensor([0.49, 0.9]).expand(1, 1, 2, 1, 1, 2)
    # Of 2 rows and 3 columns: 0.49 * 3 + 0.5 and 0.9 * 2 + 0.5, which would be below the map.
    found = mixer.read(value, at, torch.ones(1, 1, 2, 1, 1), ((2, 3),))
    torch.testing.assert_close(found[0, 0], value[0, 4].flatten())


def test_names_of_either_generation_of_files_are_read(tmp_path: Path) -> None:
    theirs = theirs_of()
    ours = ours_of(theirs, tmp_path)
    path = tmp_path / "model.safetensors"
    assert any("encoder.encoder.0.layers.0.self_attn.out_proj" in key for key in load_file(path))
    save_file({k: v.clone() for k, v in theirs.state_dict().items()}, path)
    again = from_pretrained(tmp_path).eval()
    for (name, one), other in zip(
        ours.state_dict().items(), again.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)


def test_heads_that_a_file_names_twice_are_written_twice(tmp_path: Path) -> None:
    theirs = theirs_of("v2")
    ours_of(theirs, tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({k: v.clone() for k, v in theirs.state_dict().items()}, path)
    model = from_pretrained(tmp_path)
    with torch.no_grad():
        for head in (*model.class_heads, *model.box_heads):
            for parameter in head.parameters():
                parameter.add_(1.0)
    save_published(model, tmp_path / "written", like=tmp_path)
    before, after = load_file(path), load_file(tmp_path / "written" / "model.safetensors")
    assert before.keys() == after.keys()
    twice = [key for key in after if key.startswith(("class_embed.", "bbox_embed."))]
    assert len(twice) == 2 * 2 + 2 * 6
    for key in twice:
        torch.testing.assert_close(after[key], after[f"model.decoder.{key}"], rtol=0, atol=0)
        assert not torch.equal(after[key], before[key])


def objects(*counts: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    boxes = [torch.rand(count, 4, generator=generator) * 0.4 + 0.2 for count in counts]
    labels = [torch.randint(5, (count,), generator=generator) for count in counts]
    return boxes, labels


@pytest.mark.parametrize("counts", [(3, 1), (0, 2), (0, 0), (12, 1)])
def test_the_loss_with_noisy_objects_equals_theirs(
    counts: tuple[int, int], pair: tuple[RTDETR, nn.Module]
) -> None:
    """From the same seed the noise is the same, too."""
    ours, theirs = pair
    images = torch.rand(2, 3, 96, 64)
    boxes, labels = objects(*counts)
    published = [
        {"class_labels": label, "boxes": box} for label, box in zip(labels, boxes, strict=True)
    ]
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    ours.train()
    theirs.train()
    try:
        torch.manual_seed(3)
        expected = theirs(images, labels=published).loss
        torch.manual_seed(3)
        answer = ours.taught(images, None, boxes, labels)
        loss = VarifocalLoss()(answer, boxes, labels)
        torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-5)
        gradient, other = (
            torch.autograd.grad(value, weight)[0]
            for value, weight in (
                (loss.total, ours.decoder.blocks[0].mixer.function.v.weight),
                (expected, theirs.model.decoder.layers[0].self_attn.v_proj.weight),
            )
        )
        assert (gradient - other).norm() <= 1e-4 * other.norm()
        assert len(answer.denoised) == (max(counts) > 0)
    finally:
        ours.eval().load_state_dict(before)
        theirs.eval()


def test_a_picture_gives_in_any_batch_what_it_gives_alone(pair: tuple[RTDETR, nn.Module]) -> None:
    ours, _ = pair
    images = torch.full((3, 3, 96, 128), float("nan"))
    sizes = [(96, 64), (64, 128), (96, 64)]
    pictures = [torch.rand(3, *size) for size in sizes]
    for place, (picture, (height, width)) in enumerate(zip(pictures, sizes, strict=True)):
        images[place, :, :height, :width] = picture
    found = ours(images, sizes)
    for place, picture in enumerate(pictures):
        alone = ours(picture[None])
        torch.testing.assert_close(found.logits[place], alone.logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.boxes[place], alone.boxes[0], atol=1e-5, rtol=1e-5)
    ours.train()
    boxes, labels = objects(2, 1, 3)
    taught = ours.taught(images, sizes, boxes, labels)
    ours.eval()
    assert [one.rows for one in taught.denoised] == [[0, 2], [1]]
    assert all(len(one.logits) == 3 for one in (taught,))
    assert VarifocalLoss()(taught, boxes, labels).total.isfinite()
    with pytest.raises(UserError, match="97x64 does not lie in a batch of 96x128"):
        ours(images, [(97, 64)] * 3)


def test_noisy_queries_see_their_own_group_alone_and_no_query_sees_them() -> None:
    torch.manual_seed(0)
    make = ContrastiveDenoising(5, 8, queries=6, label_noise=0.0, box_noise=0.5)
    boxes, labels = objects(2, 1)
    found = make(boxes, labels, queries=3)
    assert found is not None
    assert found.groups == 3
    assert found.tokens.shape == (2, 3 * 4, 8)
    group = torch.tensor([0] * 4 + [1] * 4 + [2] * 4 + [3] * 3)
    for one in range(15):
        for other in range(15):
            allowed = group[one] == group[other] or (group[one] < 3 and group[other] == 3)
            assert bool(found.mask[one, other]) == bool(allowed)
    # The first of a group are near: their centres move by less than half of the box's half.
    assert [one.tolist() for one in found.objects] == [[0, 1, 4, 5, 8, 9], [0, 4, 8]]
    places = found.boxes.sigmoid()
    near = (places[0, [0, 1]] - boxes[0]).abs() / boxes[0][:, 2:].tile(2)
    far = (places[0, [2, 3]] - boxes[0]).abs() / boxes[0][:, 2:].tile(2)
    assert near[:, :2].max() <= 0.25 + 1e-4
    assert far.max() > near.max()
    for place in (0, 1):
        torch.testing.assert_close(found.tokens[0, place], make.embedding.weight[labels[0][place]])
    assert not found.tokens[1, 1].any()  # the second picture has no second object
    assert make([torch.zeros(0, 4)], [torch.zeros(0).long()], queries=3) is None


def test_candidates_near_an_edge_are_no_queries() -> None:
    boxes, valid = expected_boxes([(200, 200), (2, 4)], torch.device("cpu"))
    assert boxes.shape == (1, 40008, 4)
    # Of 200 rows the first two centres lie within one hundredth of the edge.
    assert valid[0, :40000, 0].sum() == 196**2
    torch.testing.assert_close(
        boxes[0, 40000].sigmoid(), torch.tensor([0.125, 0.25, 0.1, 0.1]), atol=1e-6, rtol=0
    )
    assert (boxes[0, 0].sigmoid() == 1).all()


def test_fused_it_answers_the_same_with_fewer_parts(pair: tuple[RTDETR, nn.Module]) -> None:
    # In double precision no two candidates change places.
    ours = copy.deepcopy(pair[0]).double()
    quick = fused(ours)
    images = torch.rand(2, 3, 96, 64, dtype=torch.float64)
    one, other = ours(images), quick(images)
    torch.testing.assert_close(one.logits, other.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.boxes, other.boxes, atol=1e-5, rtol=1e-5)
    names = {type(part).__name__ for part in quick.modules()}
    assert not names & {"BatchNorm2d", "FrozenBatchNorm", "RepBlock"}
    # The model that was given is as before.
    assert any(isinstance(part, RepBlock) for part in ours.modules())


def small(classes: int = 4, **options: Any) -> RTDETR:
    backbone = ResNetD(
        depths=(1, 1, 1, 1),
        widths=(8, 12, 16, 24),
        bottleneck=False,
        stem=8,
        norm=nn.BatchNorm2d,
        out_indices=(1, 2, 3),
    )
    sizes: dict[str, Any] = {"dim": 16, "heads": 2, "queries": 6, "depth": 2}
    encoder: Callable[..., nn.Module] = partial(HybridEncoder, heads=2)
    return RTDETR(num_classes=classes, backbone=backbone, encoder=encoder, **{**sizes, **options})


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small().eval()
    images = torch.rand(1, 3, 64, 64)
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(tmp_path / "model").eval()
    torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)
    other = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert isinstance(other, RTDETR)
    assert other(images).logits.shape == (1, 6, 7)
    assert other.num_classes == other.init_args["num_classes"] == 7
    assert other.denoising is not None
    assert other.denoising.embedding.num_embeddings == 8
    # It looks around at first, each head its own way.
    for part in model.decoder.modules():
        if isinstance(part, DeformableAttention):
            assert part.offsets.weight.abs().max() == 0
            assert part.offsets.bias.abs().max() >= 1
    # Every class is unlikely at first: of six queries about one object in all classes together.
    assert small(100)(images).logits.sigmoid().mean() < 0.05


def test_the_surest_classes_of_all_queries_are_what_is_found() -> None:
    logits = torch.tensor([[[2.0, 3.0, -9.0], [1.0, -9.0, -9.0]]])
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.1, 0.1]]])
    [found] = found_objects(SigmoidDetections(logits, boxes), torch.tensor([[100, 200]]))
    # One query may stand for two classes of one object; the second query is less sure.
    assert found["labels"].tolist() == [1, 0]
    torch.testing.assert_close(found["scores"], torch.tensor([3.0, 2.0]).sigmoid())
    torch.testing.assert_close(found["boxes"][0], torch.tensor([80.0, 30.0, 120.0, 70.0]))
    torch.testing.assert_close(found["boxes"][0], found["boxes"][1])


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="have 6 tokens for 7 queries"):
        small(queries=7).eval()(torch.rand(1, 3, 16, 16))
    with pytest.raises(UserError, match="is no backbone"):
        RTDETR(num_classes=2, backbone=nn.Conv2d(3, 4, 3))
    with pytest.raises(UserError, match="must be at least 1"):
        small(queries=0)
