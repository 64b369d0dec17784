"""MaskFormer against transformers: same weights, same answers, same gradients, same losses."""

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
from headway.vision.models import Features, MaskFormer, Swin
from headway.vision.tasks import FocalMaskLoss


def theirs_of(**decoder: Any) -> nn.Module:
    torch.manual_seed(0)
    # Windows of 4 are wider than the last map: it is filled up.
    backbone = transformers.SwinConfig(
        embed_dim=8, depths=[2, 1, 1, 2], num_heads=[2, 2, 2, 2], window_size=4, image_size=64,
        drop_path_rate=0.0, out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    small: dict[str, Any] = {
        "d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 48, "decoder_attention_heads": 4, "num_queries": 6,
        "dropout": 0.0,
    }  # fmt: skip
    model = transformers.MaskFormerForInstanceSegmentation(
        transformers.MaskFormerConfig(
            backbone_config=backbone,
            decoder_config=transformers.DetrConfig(**{**small, **decoder}),
            fpn_feature_size=32,
            mask_feature_size=16,
            num_labels=5,
        )
    )
    stir_(model)
    return model.eval()


def ours_of(theirs: nn.Module, folder: Path) -> MaskFormer:
    theirs.save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    transformers.MaskFormerImageProcessor(
        size={"shortest_edge": 96, "longest_edge": 128}
    ).save_pretrained(folder)
    ours = from_pretrained(folder).eval()
    assert isinstance(ours, MaskFormer)
    return ours


def objects(*counts: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    masks = [(torch.rand(count, 64, 96, generator=generator) > 0.6).float() for count in counts]
    return masks, [torch.randint(5, (count,), generator=generator) for count in counts]


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


# A last map as wide as the tokens is read as it is.
@pytest.mark.parametrize("width", [32, 64])
def test_answers_gradients_and_losses_equal_theirs(width: int, tmp_path: Path) -> None:
    theirs = theirs_of(d_model=width)
    ours = ours_of(theirs, tmp_path)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    assert (ours.pretrained_cfg["shortest"], ours.pretrained_cfg["longest"]) == (96, 128)
    images = torch.randn(2, 3, 64, 96)
    masks, labels = objects(3, 2)
    ours.train()
    answer = ours(images)
    other = theirs(images, mask_labels=masks, class_labels=labels)
    near(answer.logits, other.class_queries_logits)
    near(answer.masks, other.masks_queries_logits)
    assert len(answer.aux) == 1
    # Published ones learn from the last block alone there (use_auxiliary_loss).
    loss = FocalMaskLoss()(answer._replace(aux=()), masks, labels)
    near(loss.total, other.loss)
    loss.total.backward()
    other.loss.backward()
    pixels, module = theirs.model.pixel_level_module, theirs.model.transformer_module
    there = "model.pixel_level_module.decoder.fpn."
    cross, block = module.decoder.layers[1].encoder_attn, ours.decoder.blocks[1]
    pairs = [
        (block.cross.function.q.weight, cross.q_proj.weight),
        (block.cross.function.v.weight, cross.v_proj.weight),
        (ours.queries, module.queries_embedder.weight),
        (ours.pixels.first.conv.weight, theirs.get_parameter(f"{there}stem.0.weight")),
        (ours.pixels.up[2].lateral.conv.weight, theirs.get_parameter(f"{there}layers.2.proj.0.weight")),
        (ours.mask_head.layers[0].weight, theirs.get_parameter("mask_embedder.0.0.weight")),
        (ours.class_head.weight, theirs.class_predictor.weight),
        (ours.backbone.norms[3].weight, pixels.encoder.hidden_states_norms[3].weight),
        (ours.backbone.model.embedding.weight,
         pixels.encoder.model.embeddings.patch_embeddings.projection.weight),
    ]  # fmt: skip
    for mine, one in pairs:
        assert mine.grad is not None
        assert (mine.grad - one.grad).norm() <= 1e-4 * one.grad.norm()


def small(**options: Any) -> MaskFormer:
    swin = Swin(image_size=32, num_classes=0, dim=8, depths=(1, 1), heads=(2, 2))
    sizes: dict[str, Any] = {"dim": 16, "pixel_dim": 16, "mask_dim": 8, "heads": 2, "queries": 6}
    return MaskFormer(
        num_classes=4, backbone=Features(swin, [0, 1]), depth=1, **{**sizes, **options}
    )


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small(dim=24).eval()
    images = torch.rand(1, 3, 40, 52)
    found = model(images)
    assert found.masks.shape == (1, 6, 10, 13)
    save_pretrained(model, tmp_path / "model")
    other = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert isinstance(other, MaskFormer)
    assert other(images).logits.shape == (1, 6, 8)
    torch.testing.assert_close(other(images).masks, found.masks, rtol=0, atol=0)


def test_what_it_cannot_be_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="queries 0"):
        small(queries=0)
    one = Features(Swin(image_size=32, num_classes=0, dim=8, depths=(1,), heads=(2,)), [0])
    with pytest.raises(UserError, match="two maps or more, the backbone has 1"):
        MaskFormer(num_classes=2, backbone=one)
    theirs_of(auxiliary_loss=True).save_pretrained(tmp_path)  # pyright: ignore[reportCallIssue]
    with pytest.raises(UserError, match="auxiliary_loss"):
        from_pretrained(tmp_path)
