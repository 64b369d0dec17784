"""The toolboxes act on Swin through the seams."""

from functools import partial

import pytest
import torch

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.explain import gradient_relevance, token_relevance
from headway.core.mixers import PoolingMixer, SelfAttention, WindowAttention
from headway.core.reduction import MergedFeedForward, MostSimilar, merge_tokens, unmerge_model
from headway.core.testing.tools import check_adapters, check_lora, token_slopes
from headway.vision.models import DETR, Features, Swin, ViT

WINDOWS = (partial(WindowAttention, window=2), partial(WindowAttention, window=2, shift=1))
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def swin(mixer=WINDOWS) -> Swin:
    torch.manual_seed(0)
    embedding = partial(PatchEmbedding, patch=2)
    model = Swin(
        image_size=8, num_classes=3, dim=8, depths=(2, 1), heads=(2, 2), embedding=embedding, mixer=mixer
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.double().eval()


def test_low_rank_adapters() -> None:
    check_lora(swin(), lambda model: model(IMAGES))


def test_base_and_adapter_are_the_tuned_model(tmp_path) -> None:
    def change(model: Swin) -> None:
        model.reset_classifier(7)
        model.set_channels(5)

    images = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    check_adapters(swin, change, lambda model: model(images), tmp_path)


def test_a_vit_at_another_size_and_its_adapter(tmp_path) -> None:
    def vit() -> ViT:
        torch.manual_seed(0)
        options = {"embedding": partial(PatchEmbedding, patch=4), "dim": 8, "depth": 2, "heads": 2}
        return ViT(image_size=8, num_classes=3, **options).double()

    def change(model: ViT) -> None:
        model.reset_classifier(4)
        model.set_input_size(12)

    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(2)).double()
    check_adapters(vit, change, lambda model: model(images), tmp_path)


@pytest.mark.parametrize("mixer", [WINDOWS, PoolingMixer], ids=["windows", "pooling"])
def test_relevance_is_the_slope_of_the_answer_along_each_token(mixer) -> None:
    model = swin(mixer)
    slopes = token_slopes(model.stages[0], lambda: model(IMAGES)[:, 1])
    assert slopes.shape == (2, 16)
    found = token_relevance(model, IMAGES, target=1)
    torch.testing.assert_close(found, slopes, atol=1e-7, rtol=1e-4)


def test_attention_within_windows_is_not_taken_for_attention_over_the_picture() -> None:
    with pytest.raises(UserError, match="attends within windows.*token_relevance explains it"):
        gradient_relevance(swin(), IMAGES)


def test_merging_for_the_feed_forward() -> None:
    model = swin()
    before = model(IMAGES)
    assert torch.equal(
        merge_tokens(model, MostSimilar(amount=0), where="feedforward")(IMAGES), before
    )
    merge_tokens(unmerge_model(model), MostSimilar(ratio=0.5), where="feedforward")
    seen = []
    for module in model.modules():
        if isinstance(module, MergedFeedForward):
            module.inner.register_forward_hook(lambda m, given, out: seen.append(out.shape[1]))
    merged = model(IMAGES)
    assert seen == [8, 8, 2]  # of 16, 16 and 4
    assert not torch.allclose(merged, before)
    torch.testing.assert_close(model(IMAGES[1:]), merged[1:])
    # In a picture of one colour all tokens are equal.
    plain = IMAGES[:, :, :1, :1].expand(-1, -1, 8, 8)
    torch.testing.assert_close(model(plain), unmerge_model(model)(plain))


def test_windows_keep_their_grid_and_other_mixers_merge() -> None:
    with pytest.raises(UserError, match="WindowAttention cannot take merged.*where='feedforward'"):
        merge_tokens(swin(), MostSimilar(ratio=0.5))
    model = swin(SelfAttention)
    plain = IMAGES[:, :, :1, :1].expand(-1, -1, 8, 8)
    before, other = model(plain), model(IMAGES)
    merge_tokens(model, MostSimilar(ratio=0.5))
    torch.testing.assert_close(model(plain), before)
    assert not torch.allclose(model(IMAGES), other)


def test_a_detector_merges_for_the_feed_forward() -> None:
    torch.manual_seed(0)
    backbone = Features(swin(), [-1])
    model = DETR(
        num_classes=3, backbone=backbone, dim=16, heads=2, queries=6, encoder_depth=1, decoder_depth=1
    )  # fmt: skip
    model.double().eval()
    before = model(IMAGES)
    with pytest.raises(UserError, match=r"cannot take merged tokens.*where='feedforward'"):
        merge_tokens(model, MostSimilar(ratio=0.5))
    merge_tokens(model, MostSimilar(ratio=0.5), where="feedforward")
    assert not torch.allclose(model(IMAGES).boxes, before.boxes)
    assert torch.equal(unmerge_model(model)(IMAGES).boxes, before.boxes)
