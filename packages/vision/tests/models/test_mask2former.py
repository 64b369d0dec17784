"""Mask2Former against transformers: same weights, same answers, same gradients, same losses."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.norms import LayerNorm
from headway.core.testing.round_trips import check_round_trip
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers.masked_block import MaskedBlock
from headway.vision.models import Features, Mask2Former, Swin
from headway.vision.tasks import PointMaskLoss


def theirs_of(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    # Windows of 4 are wider than the last map: it is filled up.
    backbone = transformers.SwinConfig(
        embed_dim=8, depths=[2, 1, 1, 2], num_heads=[2, 2, 2, 2], window_size=4, image_size=64,
        drop_path_rate=0.0, out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    small: dict[str, Any] = {
        "backbone_config": backbone, "feature_size": 32, "mask_feature_size": 16, "hidden_dim": 32,
        "encoder_feedforward_dim": 24, "dim_feedforward": 48, "encoder_layers": 1, "decoder_layers": 5,
        "num_attention_heads": 4, "num_queries": 6, "num_labels": 5, "train_num_points": 60,
    }  # fmt: skip
    model = transformers.Mask2FormerForUniversalSegmentation(
        transformers.Mask2FormerConfig(**{**small, **options})
    )
    stir_(model)
    return model.eval()


def ours_of(theirs: nn.Module, folder: Path) -> Mask2Former:
    theirs.save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    transformers.Mask2FormerImageProcessor(
        size={"shortest_edge": 96, "longest_edge": 128}
    ).save_pretrained(folder)
    ours = from_pretrained(folder).eval()
    assert isinstance(ours, Mask2Former)
    return ours


def objects(*counts: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    masks = [(torch.rand(count, 64, 96, generator=generator) > 0.6).float() for count in counts]
    return masks, [torch.randint(5, (count,), generator=generator) for count in counts]


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_answers_gradients_and_losses_equal_theirs(tmp_path: Path) -> None:
    theirs = theirs_of()
    ours = ours_of(theirs, tmp_path)
    check_round_trip(tmp_path, tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    assert (ours.pretrained_cfg["shortest"], ours.pretrained_cfg["longest"]) == (96, 128)
    images = torch.randn(2, 3, 64, 96)
    masks, labels = objects(3, 2)
    ours.train()
    answer = ours(images)
    torch.manual_seed(1)
    loss = PointMaskLoss(points=60)(answer, masks, labels)
    torch.manual_seed(1)
    other = theirs(images, mask_labels=masks, class_labels=labels, output_auxiliary_logits=True)
    near(answer.logits, other.class_queries_logits)
    near(answer.masks, other.masks_queries_logits)
    assert len(answer.aux) == len(other.auxiliary_logits) == 4
    for (logits, found), one in zip(answer.aux, other.auxiliary_logits, strict=True):
        near(logits, one["class_queries_logits"])
        near(found, one["masks_queries_logits"])
    near(loss.total, other.loss)
    loss.total.backward()
    other.loss.backward()
    pixels, decoder = theirs.model.pixel_level_module, theirs.model.transformer_module
    cross = decoder.decoder.layers[1].cross_attn
    block = ours.decoder.blocks[1]
    pairs = [
        (block.cross.function.q.weight.grad, cross.in_proj_weight.grad[:32]),
        (block.cross.function.v.weight.grad, cross.in_proj_weight.grad[64:]),
        (block.mixer.function.v.weight.grad, decoder.decoder.layers[1].self_attn.v_proj.weight.grad),
        (ours.queries.grad, decoder.queries_features.weight.grad),
        (ours.query_embedding.grad, decoder.queries_embedder.weight.grad),
        (ours.level_embedding.grad, decoder.level_embed.weight.grad),
        (ours.pixels.level_embedding.grad, pixels.decoder.level_embed.grad),
        (ours.pixels.projections.layers[0][0].weight.grad, pixels.decoder.input_projections[2][0].weight.grad),
        (ours.pixels.up[0].lateral.conv.weight.grad, pixels.decoder.adapter_1[0].weight.grad),
        (ours.class_head.weight.grad, theirs.class_predictor.weight.grad),
        (ours.backbone.norms[3].weight.grad, pixels.encoder.hidden_states_norms["stage4"].weight.grad),
        (ours.backbone.model.embedding.weight.grad,
         pixels.encoder.swin.embeddings.patch_embeddings.projection.weight.grad),
    ]  # fmt: skip
    for a, b in pairs:
        assert a is not None
        assert (a - b).norm() <= 1e-4 * b.norm()


def test_files_of_transformers_4_are_read_and_written(tmp_path: Path) -> None:
    """There the backbone has no name of its own, and no norm behind its last block."""
    theirs = theirs_of()
    ours = ours_of(theirs, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    front = "model.pixel_level_module.encoder."
    state = {k: v for k, v in state.items() if f"{front}swin.layernorm" not in k}
    state[f"{front}encoder.layers.0.blocks.0.attention.self.relative_position_index"] = torch.zeros(
        16, 16, dtype=torch.long
    )
    assert f"{front}encoder.layers.0.blocks.0.attention.self.query.weight" in state
    save_file(state, tmp_path / "model.safetensors")
    again = from_pretrained(tmp_path).eval()
    check_round_trip(tmp_path, tmp_path / "back")
    images = torch.randn(1, 3, 64, 64)
    near(again(images).masks, ours(images).masks)


def small(classes: int = 4, **options: Any) -> Mask2Former:
    swin = Swin(
        image_size=32, num_classes=0, dim=8, depths=(1, 1, 1), heads=(2, 2, 2), final_norm=False
    )
    sizes: dict[str, Any] = {"dim": 16, "mask_dim": 8, "heads": 2, "queries": 6, "levels": 2}
    depths = {"encoder_depth": 1, "decoder_depth": 2}
    backbone = Features(swin, [0, 1, 2], norm=LayerNorm)
    return Mask2Former(num_classes=classes, backbone=backbone, **{**sizes, **depths, **options})


class PlainBlock(MaskedBlock):
    """Cross-attention to whole maps."""

    def forward(self, x, layout=None, *, mask=None, **options):
        return super().forward(x, layout, **options)


def test_a_query_reads_nothing_outside_its_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails with ``PlainBlock``: what lies outside of all masks changes an answer then."""
    assert outside_of_masks(small()) == 0
    monkeypatch.setattr("headway.vision.models.mask2former.MaskedBlock", PlainBlock)
    assert outside_of_masks(small()) > 1e-3


def outside_of_masks(model: Mask2Former) -> float:
    """Returns how much the answers of the first block change with the tokens that no query may read."""
    torch.manual_seed(0)
    stir_(model)
    block, queries = model.decoder.blocks[0], torch.randn(1, 6, 16)
    masks = torch.full((1, 6, 8, 8), -1.0)
    masks[:, :, :4] = 1
    mask = model.may_read(masks, (8, 8))
    assert mask.shape == (1, 1, 6, 64)
    assert mask.sum() == 6 * 32
    context = torch.randn(1, 64, 16)
    other = context.clone()
    other[:, 32:] = torch.randn(1, 32, 16)
    with torch.no_grad():
        outs = [block(queries, None, context=one, mask=mask)[0] for one in (context, other)]
    return float((outs[0] - outs[1]).abs().max())


def test_a_query_without_a_mask_reads_everything() -> None:
    mask = small().may_read(torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4), (2, 2))
    assert mask.all()


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small().eval()
    images = torch.rand(1, 3, 40, 52)
    found = model(images)
    assert found.masks.shape == (1, 6, 10, 13)
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(tmp_path / "model").eval()
    torch.testing.assert_close(again(images), found, rtol=0, atol=0)
    other = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert isinstance(other, Mask2Former)
    assert other(images).logits.shape == (1, 6, 8)
    near(other(images).masks, found.masks)
    assert other.semantic(images).shape == (1, 7, 40, 52)


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="queries 0"):
        small(queries=0)
    with pytest.raises(UserError, match="reads 4 maps or more, the backbone has 3"):
        small(levels=3)
