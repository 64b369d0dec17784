"""DETR against transformers: same weights, same answers, same gradients, same loss."""

import importlib
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import (
    CrossAttention,
    PositionedCrossAttention,
    PositionedSelfAttention,
    SelfAttention,
)
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers import ResNet, TimmFeatures
from headway.vision.models import DETR, Detections, Features, Swin, ViT
from headway.vision.models.detections import found_objects
from headway.vision.tasks import DetectionLoss


def config(layer: str = "basic", **options: object) -> transformers.DetrConfig:
    # Not auxiliary_loss: with it transformers 5 norms what goes on to the next decoder layer, too, unlike
    # the authors' code and its own evaluation.
    backbone = transformers.ResNetConfig(
        layer_type=layer, embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 2, 1, 1],
        out_features=["stage4"],
    )  # fmt: skip
    return transformers.DetrConfig(
        backbone_config=backbone, use_timm_backbone=False, backbone=None, d_model=32, num_queries=6,
        encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, num_labels=5, dropout=0.0, **options,
    )  # fmt: skip


def theirs_of(layer: str = "basic", **options: object) -> nn.Module:
    torch.manual_seed(0)
    model = transformers.DetrForObjectDetection(config(layer, **options))
    stir_(model)
    return model.eval()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[DETR, nn.Module]:
    folder = tmp_path_factory.mktemp("detr")
    theirs = theirs_of()
    theirs.save_pretrained(folder)
    return from_pretrained(folder).eval(), theirs


@pytest.mark.parametrize("layer", ["basic", "bottleneck"])
@pytest.mark.parametrize("generation", ["4.x", "5.x"])
def test_answers_and_gradients_equal_theirs(layer: str, generation: str, tmp_path: Path) -> None:
    theirs = theirs_of(layer)
    # theirs freezes this backbone as a whole, for it looks for the names of timm's.
    theirs.model.backbone.requires_grad_(True)
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    saved = load_file(path)
    assert any("conv_encoder" in key for key in saved)  # the names of 4.x
    assert any(".out_proj." in key for key in saved)
    if generation == "5.x":
        save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, path)
    ours = from_pretrained(tmp_path).eval()
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    images = torch.randn(2, 3, 64, 96)
    mine, other = ours(images), theirs(images)
    torch.testing.assert_close(mine.logits, other.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.boxes, other.pred_boxes, atol=1e-5, rtol=1e-5)
    (mine.logits.square().sum() + mine.boxes.square().sum()).backward()
    (other.logits.square().sum() + other.pred_boxes.square().sum()).backward()
    encoder, decoder = theirs.model.encoder.layers[0], theirs.model.decoder.layers[1]
    mixer, cross = ours.encoder.blocks[0].mixer.function, ours.decoder.blocks[1].cross.function
    attention = encoder.self_attn
    backbone = theirs.model.backbone.model.encoder.stages[1].layers[0].layer[0].convolution
    for a, b in (
        (mixer.qk.weight, [attention.q_proj.weight, attention.k_proj.weight]),
        (mixer.v.weight, [attention.v_proj.weight]),
        (ours.encoder.blocks[0].feedforward.function.fc1.weight, [encoder.mlp.fc1.weight]),
        (cross.q.weight, [decoder.encoder_attn.q_proj.weight]),
        (cross.k.weight, [decoder.encoder_attn.k_proj.weight]),
        (cross.projection.weight, [decoder.encoder_attn.o_proj.weight]),
        (ours.queries, [theirs.model.query_position_embeddings.weight]),
        (ours.box_head.layers[0].weight, [theirs.bbox_predictor.layers[0].weight]),
        (ours.backbone.layer2[0].conv1.weight, [backbone.weight]),
    ):
        expected = torch.cat([parameter.grad for parameter in b])
        assert (a.grad - expected).norm() / expected.norm() < 1e-4
    # The stem and the first stage never learn, as theirs.
    assert not ours.backbone.conv1.weight.requires_grad
    assert not ours.backbone.layer1[0].conv1.weight.requires_grad


def test_the_transformer_equals_theirs_on_padded_maps(pair: tuple[DETR, nn.Module]) -> None:
    ours, theirs = pair
    torch.manual_seed(1)
    maps = torch.randn(2, 24, 5, 7)
    valid = torch.zeros(2, 5, 7, dtype=torch.bool)
    valid[0, :3, :7], valid[1, :5, :4] = True, True
    # Their mask is resized to the map; at the size of the map it stays as it is.
    core = theirs.model
    features = core.input_projection(maps).flatten(2).transpose(1, 2)
    positions = core.position_embedding(
        shape=maps.shape, device=maps.device, dtype=maps.dtype, mask=valid
    )
    positions = positions.flatten(2).transpose(1, 2)
    layout = Layout(grid=(5, 7), valid=valid.flatten(1))
    embedding = ours.position(layout, 35)
    torch.testing.assert_close(embedding[valid.flatten(1)], positions[valid.flatten(1)])
    encoded = core.encoder(
        inputs_embeds=features,
        attention_mask=valid.flatten(1),
        spatial_position_embeddings=positions,
    ).last_hidden_state
    queries = core.query_position_embeddings.weight[None].repeat(2, 1, 1)
    decoded = core.decoder(
        inputs_embeds=torch.zeros_like(queries),
        attention_mask=None,
        spatial_position_embeddings=positions,
        object_queries_position_embeddings=queries,
        encoder_hidden_states=encoded,
        encoder_attention_mask=valid.flatten(1),
    ).last_hidden_state
    ours._maps = lambda images, sizes: (images, valid.flatten(1))  # what the backbone would give
    try:
        memory, _ = ours.encode(maps)
        mine = ours(maps)
    finally:
        del ours._maps
    real = valid.flatten(1)
    torch.testing.assert_close(memory[real], encoded[real], atol=1e-5, rtol=1e-5)
    expected = theirs.class_labels_classifier(decoded)
    torch.testing.assert_close(mine.logits, expected, atol=1e-5, rtol=1e-5)
    boxes = theirs.bbox_predictor(decoded).sigmoid()
    torch.testing.assert_close(mine.boxes, boxes, atol=1e-5, rtol=1e-5)


def small(backbone: nn.Module, **options: object) -> DETR:
    torch.manual_seed(0)
    return DETR(
        num_classes=3, backbone=backbone, dim=16, heads=2, queries=5, encoder_depth=2, decoder_depth=2,
        **options,
    ).eval()  # fmt: skip


def resnet(**options: object) -> ResNet:
    torch.manual_seed(0)
    return ResNet(
        depths=(1, 1, 1), widths=(8, 12, 16), bottleneck=False, stem=8, **options
    )  # fmt: skip


BACKBONES = {
    "resnet": resnet,
    "vit": lambda: Features(ViT(image_size=64, dim=16, depth=2, heads=2, num_classes=0), [-1]),
    "swin": lambda: Features(
        Swin(image_size=64, dim=8, depths=(1, 1), heads=(2, 2), num_classes=0), [-1]
    ),
    "timm": lambda: TimmFeatures("resnet18", out_indices=(2,)),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_picture_alone_equals_the_same_one_in_a_padded_batch(name: str) -> None:
    model = small(BACKBONES[name]())
    sizes = [(48, 64), (64, 32), (48, 64)]
    images = torch.full((3, 3, 64, 64), torch.nan)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, :height, :width] = torch.randn(3, height, width)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}

    def gradients(total: torch.Tensor) -> dict[str, torch.Tensor | None]:
        found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        return dict(zip(parameters, found, strict=True))

    whole = model(images, torch.tensor(sizes))
    assert whole.aux == ()
    together = gradients(whole.logits.square().sum() + whole.boxes.square().sum())
    total = torch.zeros(())
    for place, (image, (height, width)) in enumerate(zip(images, sizes, strict=True)):
        alone = model(image[None, :, :height, :width])
        torch.testing.assert_close(alone.logits[0], whole.logits[place], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone.boxes[0], whole.boxes[place], atol=1e-5, rtol=1e-5)
        total = total + alone.logits.square().sum() + alone.boxes.square().sum()
    for key, value in gradients(total).items():
        if value is not None:
            other = together[key]
            assert other is not None
            assert (value - other).norm() <= 1e-4 * value.norm().clamp_min(0.1), key


def test_timms_maps_are_those_of_the_same_network() -> None:
    ours = ResNet(depths=(2, 2, 2, 2), widths=(64, 128, 256, 512), bottleneck=False)
    theirs = TimmFeatures("resnet18")
    ours.load_state_dict(theirs.model.state_dict())
    images = torch.randn(1, 3, 45, 64)
    torch.testing.assert_close(ours(images)[0], theirs(images)[0], atol=1e-4, rtol=1e-4)
    assert ours.feature_info[0]["num_chs"] == theirs.feature_info[0]["num_chs"] == 512
    assert ours.feature_info[0]["reduction"] == theirs.feature_info[0]["reduction"] == 32


def test_without_timm_its_backbone_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"pip install timm; headway.vision.layers.ResNet"):
        TimmFeatures("resnet50")


def test_positions_and_queries_are_needed_and_refused_by_name() -> None:
    images = torch.randn(1, 3, 64, 64)
    for options, message in (
        ({"mixer": SelfAttention}, "SelfAttention does not support embedding"),
        ({"cross": CrossAttention}, "CrossAttention does not support embedding"),
    ):
        with pytest.raises(UserError, match=message):
            small(resnet(), **options)(images)
    with pytest.raises(UserError, match="no backbone: it has no feature_info"):
        small(nn.Identity())
    with pytest.raises(UserError, match="does not lie in a batch"):
        small(resnet())(images, [(65, 64)])
    # Without positions the encoder cannot tell places apart, without queries all answers are alike.
    model = small(resnet())
    answers = model(images)
    assert answers.boxes[0].std(dim=0).max() > 1e-4
    with torch.no_grad():
        model.queries.zero_()
    assert model(images).boxes[0].std(dim=0).max() < 1e-6


def test_positions_are_added_to_queries_and_keys_and_not_to_values() -> None:
    torch.manual_seed(0)
    mixer = PositionedSelfAttention(8, 2).double()
    x, places = torch.randn(2, 1, 5, 8).double().unbind(0)
    plain = SelfAttention(8, 2).double()
    with torch.no_grad():
        plain.qkv.weight.copy_(torch.cat([mixer.qk.weight, mixer.v.weight]))
        plain.qkv.bias.copy_(torch.cat([mixer.qk.bias, mixer.v.bias]))
        plain.projection.load_state_dict(mixer.projection.state_dict())
    torch.testing.assert_close(mixer(x), plain(x))
    out = mixer(x, Layout(embedding=places))
    query, key = mixer.qk(x + places).unflatten(-1, (2, 2, 4)).permute(2, 0, 3, 1, 4)
    value = mixer.v(x).unflatten(-1, (2, 4)).transpose(1, 2)
    weights = (query @ key.mT / 2).softmax(-1)
    expected = mixer.projection((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(out, expected)
    cross = PositionedCrossAttention(8, 2, context_dim=6).double()
    context, memory = torch.randn(2, 1, 4, 6).double().unbind(0)
    seen = torch.tensor([[True, True, False, True]])
    layout = Layout(embedding=memory, valid=seen)
    out = cross(x, Layout(embedding=places), context=context, context_layout=layout)
    query, key, value = (
        part.unflatten(-1, (2, 4)).transpose(1, 2)
        for part in (cross.q(x + places), cross.k(context + memory), cross.v(context))
    )
    scores = (query @ key.mT / 2).masked_fill(~seen, -torch.inf)
    expected = cross.projection((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(out, expected)
    with pytest.raises(UserError, match="needs context="):
        cross(x)


def test_another_number_of_classes_keeps_all_but_the_logits(
    pair: tuple[DETR, nn.Module], tmp_path: Path
) -> None:
    _, theirs = pair
    theirs.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path, num_classes=2).eval()
    assert ours.load_report.reinitialised == ("class_head.bias", "class_head.weight")
    images = torch.randn(1, 3, 64, 64)
    answers = ours(images)
    assert answers.logits.shape == (1, 6, 3)
    expected = theirs(images).pred_boxes
    torch.testing.assert_close(answers.boxes, expected, atol=1e-5, rtol=1e-5)
    save_pretrained(ours, tmp_path / "ours")
    again = from_pretrained(tmp_path / "ours").eval()
    torch.testing.assert_close(again(images).logits, answers.logits)


def test_what_no_published_model_has_is_refused(tmp_path: Path) -> None:
    theirs_of(position_embedding_type="learned").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="learned positions"):
        from_pretrained(tmp_path)


def test_the_loss_equals_theirs() -> None:
    torch.manual_seed(0)
    batch, queries, classes = 3, 9, 5
    logits = torch.randn(3, batch, queries, classes + 1, requires_grad=True)
    boxes = torch.rand(3, batch, queries, 4) * 0.5 + 0.25
    boxes.requires_grad_(True)
    counts = (4, 0, 7)
    labels = [torch.randint(0, classes, (n,)) for n in counts]
    wanted = [torch.rand(n, 4) * 0.4 + 0.2 for n in counts]
    targets = [
        {"class_labels": label, "boxes": box} for label, box in zip(labels, wanted, strict=True)
    ]
    criterion = config(auxiliary_loss=True)
    criterion.decoder_layers = 3
    expected, parts, _ = ForObjectDetectionLoss(
        logits[-1], targets, torch.device("cpu"), boxes[-1], criterion, logits, boxes
    )
    aux = tuple((logits[i], boxes[i]) for i in range(2))
    mine = DetectionLoss()(Detections(logits[-1], boxes[-1], aux), wanted, labels)
    torch.testing.assert_close(mine.total, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in (("classes", "ce"), ("boxes", "bbox"), ("overlap", "giou")):
        torch.testing.assert_close(getattr(mine, ours), parts[f"loss_{theirs}"])
    one = torch.autograd.grad(mine.total, [logits, boxes], retain_graph=True)
    two = torch.autograd.grad(expected, [logits, boxes])
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_batch_without_objects_has_a_loss() -> None:
    model = small(resnet()).train()
    output = model(torch.randn(2, 3, 64, 64))
    assert len(output.aux) == 1
    nothing = [torch.zeros(0, 4)] * 2
    losses = DetectionLoss()(output, nothing, [torch.zeros(0, dtype=torch.int64)] * 2)
    losses.total.backward()
    assert losses.boxes == 0
    assert torch.isfinite(losses.total)


def test_matching_takes_the_cheapest_pairs() -> None:
    boxes = torch.tensor([[[0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2], [0.7, 0.7, 0.21, 0.2]]])
    logits = torch.zeros(1, 3, 3)
    logits[0, 2, 1] = 4.0  # surer of the class than its twin
    wanted = [torch.tensor([[0.7, 0.7, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2]])]
    [(queries, objects)] = DetectionLoss().match(logits, boxes, wanted, [torch.tensor([1, 0])])
    assert dict(zip(queries.tolist(), objects.tolist(), strict=True)) == {0: 1, 2: 0}


def test_objects_come_in_pixels_of_the_picture() -> None:
    logits = torch.tensor([[[2.0, 0.0, 1.0], [0.0, 1.0, 5.0]]])
    boxes = torch.tensor([[[0.5, 0.5, 0.5, 0.25], [0.05, 0.5, 0.5, 0.5]]])
    [found] = found_objects(Detections(logits, boxes), torch.tensor([[100, 200]]))
    assert found["labels"].tolist() == [0, 1]
    torch.testing.assert_close(found["scores"], logits[0].softmax(-1)[[0, 1], [0, 1]])
    expected = torch.tensor([[50.0, 37.5, 150.0, 62.5], [0.0, 25.0, 60.0, 75.0]])
    torch.testing.assert_close(found["boxes"], expected)


def test_checkpointing_changes_nothing_and_the_backbone_has_its_own_depth() -> None:
    model = small(resnet(), feedforward=MLP)
    images = torch.randn(1, 3, 64, 64)
    expected = model(images)
    model.set_grad_checkpointing()
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch.testing.assert_close(model(images).boxes, expected.boxes, atol=1e-5, rtol=1e-5)
    assert model.layer_depth("backbone.conv1.weight") == 0
    assert model.layer_depth("encoder.blocks.0.mixer.norm.weight") == 1


def test_compiled_and_exported_models_give_the_same() -> None:
    model = small(resnet())
    images = torch.randn(3, 3, 60, 64)
    expected = model(images)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)(images)
    torch.testing.assert_close(compiled.boxes, expected.boxes, atol=1e-5, rtol=1e-5)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(
        model, (images[:2],), dynamic_shapes=({0: batch},), strict=False
    ).module()
    for n in (1, 3):
        found = program(images[:n])
        torch.testing.assert_close(found.boxes, expected.boxes[:n], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.logits, expected.logits[:n], atol=1e-5, rtol=1e-5)
