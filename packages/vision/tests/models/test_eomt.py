"""EoMT against transformers: same weights, same answers, same gradients, same losses."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.models import EoMT, Masks, Swin, ViT
from headway.vision.tasks import PointMaskLoss


def theirs_of(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 48, "patch_size": 8,
        "num_blocks": 2, "num_upscale_blocks": 1, "num_queries": 6, "num_register_tokens": 2, "num_labels": 5,
        "train_num_points": 60, "mlp_ratio": 2, "layerscale_value": 0.5,
    }  # fmt: skip
    model = transformers.EomtForUniversalSegmentation(
        transformers.EomtConfig(**{**small, **options})
    )
    stir_(model)
    return model.eval()


def ours_of(theirs: nn.Module, folder: Path) -> EoMT:
    theirs.save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    transformers.EomtImageProcessor(
        size={"shortest_edge": 48, "longest_edge": 48}, do_split_image=False, do_pad=True
    ).save_pretrained(folder)
    ours = from_pretrained(folder).eval()
    assert isinstance(ours, EoMT)
    return ours


def objects(*counts: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    masks = [(torch.rand(count, 48, 48, generator=generator) > 0.6).float() for count in counts]
    return masks, [torch.randint(5, (count,), generator=generator) for count in counts]


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_answers_gradients_and_losses_equal_theirs(gated: bool, tmp_path: Path) -> None:
    theirs = theirs_of(use_swiglu_ffn=gated)
    theirs.attn_mask_probs.fill_(1.0)  # pyright: ignore[reportCallIssue]
    ours = ours_of(theirs, tmp_path)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    images = torch.randn(2, 3, 48, 48)
    masks, labels = objects(3, 2)
    ours.train()
    answer = ours(images)
    assert len(answer.aux) == 2
    # There blocks draw their points from the first to the last.
    pairs = [*answer.aux, (answer.logits, answer.masks)]
    torch.manual_seed(1)
    loss = PointMaskLoss(points=60)(Masks(*pairs[0], aux=tuple(pairs[1:])), masks, labels).total
    theirs.train()
    torch.manual_seed(1)
    other = theirs(images, mask_labels=masks, class_labels=labels)
    near(answer.logits, other.class_queries_logits)
    near(answer.masks, other.masks_queries_logits)
    near(loss, other.loss)
    loss.backward()
    other.loss.backward()
    encoder, layer = ours.backbone.encoder, theirs.layers[3]
    projections = [getattr(layer.attention, f"{part}_proj").weight.grad for part in "qkv"]
    pairs = [
        (encoder.blocks[3].mixer.function.qkv.weight.grad, torch.cat(projections)),
        (encoder.norm.weight.grad, theirs.layernorm.weight.grad),
        (encoder.blocks[0].mixer.scale.gamma.grad, theirs.layers[0].layer_scale1.lambda1.grad),
        (ours.queries.grad, theirs.query.weight.grad),
        (ours.upscale[0].mix.weight.grad, theirs.upscale_block.block[0].conv2.weight.grad),
        (ours.mask_head.layers[0].weight.grad, theirs.mask_head.fc1.weight.grad),
        (ours.backbone.tokens.registers.grad, theirs.embeddings.register_tokens.grad),
        (ours.backbone.tokens.position.table.grad[0], theirs.embeddings.position_embeddings.weight.grad),
        (ours.backbone.embedding.weight.grad, theirs.embeddings.patch_embeddings.projection.weight.grad),
    ]  # fmt: skip
    for mine, one in pairs:
        assert (mine - one).norm() <= 1e-4 * one.norm()


def small(**options: Any) -> EoMT:
    vit = ViT(image_size=32, num_classes=0, dim=24, depth=3, heads=3, **options)
    return EoMT(num_classes=4, backbone=vit, queries=6, joint=2)


def test_without_masks_equal_theirs_and_nothing_is_computed_on_the_way(tmp_path: Path) -> None:
    theirs = theirs_of()
    theirs.attn_mask_probs.fill_(0.0)  # pyright: ignore[reportCallIssue]
    ours = ours_of(theirs, tmp_path)
    assert not ours.masked.any()
    images = torch.randn(1, 3, 48, 48)
    heads = []
    ours.class_head.register_forward_hook(lambda *_: heads.append(1))
    with torch.no_grad():
        near(ours(images).masks, theirs(images).masks_queries_logits)
    assert len(heads) == 1
    ours.masked.fill_(1.0)
    with torch.no_grad():
        assert (ours(images).masks - theirs(images).masks_queries_logits).abs().max() > 1e-3


def test_masks_go_block_by_block_during_training() -> None:
    """Fails where masks stay: a query then reads within its mask until the end."""
    model, seen = small(), []
    for step in range(9):
        model.prepare_step(step / 8)
        seen.append(model.masked.tolist())
    assert seen[0] == [1.0, 1.0]
    assert seen[-1] == [0.0, 0.0]
    first, last = zip(*seen, strict=True)
    assert list(first) == sorted(first, reverse=True)
    assert list(last) == sorted(last, reverse=True)
    assert all(a <= b for a, b in seen)
    assert seen[4][0] == pytest.approx(0.0)
    assert seen[3][0] == pytest.approx(0.5**0.9)
    assert seen[4][1] == 1.0


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small().eval()
    model.prepare_step(1.0)
    images = torch.rand(1, 3, 48, 64)
    found = model(images)
    assert found.masks.shape == (1, 6, 12, 16)
    save_pretrained(model, tmp_path / "model")
    other = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert isinstance(other, EoMT)
    assert other(images).logits.shape == (1, 6, 8)
    torch.testing.assert_close(other(images).masks, found.masks, rtol=0, atol=0)


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="needs a ViT as its backbone, got Swin"):
        EoMT(num_classes=2, backbone=Swin(image_size=32, dim=8, depths=(1,), heads=(2,)))
    vit = ViT(image_size=32, num_classes=0, dim=24, depth=1, heads=3)
    with pytest.raises(UserError, match="joint 4 must be 1 to the 1 blocks"):
        EoMT(num_classes=2, backbone=vit)
