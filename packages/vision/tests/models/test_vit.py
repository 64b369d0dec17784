"""What a ViT of headway does beyond its peers."""

from functools import partial

import pytest
import torch
from torch import nn

from headway.core.blocks import Chain, ParallelBlock, PostNormBlock, SandwichNormBlock
from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import GLU
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.mixers import ConvolutionMixer, FourierMixer, PoolingMixer, SelfAttention
from headway.core.norms import RMSNorm
from headway.core.positions import Rotary, SinusoidalPosition
from headway.core.resample import TokenMerging
from headway.vision.layers import ConvolutionStem, ImageTokens
from headway.vision.models import ViT, create_model, list_models


def small(seed: int = 0, **options: object) -> ViT:
    torch.manual_seed(seed)
    defaults = {
        "image_size": 32,
        "num_classes": 5,
        "dim": 24,
        "depth": 2,
        "heads": 2,
        "embedding": partial(PatchEmbedding, patch=8),
    }
    return ViT(**{**defaults, **options})


@pytest.mark.parametrize("registers", [0, 3])
@pytest.mark.parametrize("pooling", ["token", "average"])
def test_packed_pictures_of_many_sizes_equal_one_by_one(registers: int, pooling: str) -> None:
    head = (
        partial(ClassificationHead, pooling=AveragePooling)
        if pooling == "average"
        else ClassificationHead
    )
    vit = small(tokens=partial(ImageTokens, registers=registers), head=head).double()
    pictures = [torch.randn(3, *size).double() for size in ((32, 32), (16, 48), (8, 8), (40, 24))]
    packed = vit(pictures)
    alone = torch.cat([vit(picture[None]) for picture in pictures])
    torch.testing.assert_close(packed, alone, atol=1e-10, rtol=1e-10)
    (one,) = torch.autograd.grad(
        packed.square().sum(), vit.encoder.blocks[0].mixer.function.qkv.weight
    )
    (two,) = torch.autograd.grad(
        alone.square().sum(), vit.encoder.blocks[0].mixer.function.qkv.weight
    )
    torch.testing.assert_close(one, two, atol=1e-9, rtol=1e-9)


def test_a_packed_picture_does_not_see_its_neighbours() -> None:
    vit = small().eval()
    first, other, another = (torch.randn(3, 16, 24) for _ in range(3))
    torch.testing.assert_close(vit([first, other])[0], vit([first, another])[0])


MIXERS = {
    "attention": SelfAttention,
    "rotary": partial(SelfAttention, position=partial(Rotary, axes=2)),
    "pooling": PoolingMixer,
    "fourier": FourierMixer,
    "convolution": partial(ConvolutionMixer, window=3),
    "cycled": [partial(ConvolutionMixer, window=3), SelfAttention],
}


@pytest.mark.learns
@pytest.mark.parametrize("mixer", MIXERS)
def test_any_mixer_trains_with_finite_gradients_everywhere(mixer: str, seed: int, measured) -> None:
    """What is left of the first loss, worst of seeds 0 to 4: Fourier 0.31, the others at most 0.16."""
    vit = small(seed, mixer=MIXERS[mixer], head=partial(ClassificationHead, pooling=AveragePooling))
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    optimizer = torch.optim.Adam(vit.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(vit(images), labels)
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in vit.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        optimizer.step()
        losses.append(loss.item())
    measured("left", losses[-1] / losses[0], below=0.55)


@pytest.mark.parametrize(
    "parts",
    [
        {"block": PostNormBlock},
        {"block": SandwichNormBlock},
        {"block": ParallelBlock},
        {"feedforward": GLU, "norm": RMSNorm},
        {"tokens": partial(ImageTokens, position=SinusoidalPosition)},
        {"tokens": partial(ImageTokens, position=None, class_token=False),
         "head": partial(ClassificationHead, pooling=AveragePooling)},
        {"embedding": partial(ConvolutionStem, patch=8)},
    ],
    ids=lambda parts: next(iter(parts)),
)  # fmt: skip
def test_parts_come_from_the_constructor_and_survive_a_state_dict(parts: dict) -> None:
    vit, other = small(**parts), small(**parts)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    other.load_state_dict(vit.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(vit.eval()(images), other.eval()(images))


def test_a_picture_that_cannot_be_cut_names_size_patch_and_remedy() -> None:
    with pytest.raises(UserError, match=r"30x32 cannot be cut into patches of 8x8.*32x32"):
        small()(torch.randn(1, 3, 30, 32))
    with pytest.raises(UserError, match=r"must be \(B, 3, H, W\), got \(1, 1, 32, 32\)"):
        small()(torch.randn(1, 1, 32, 32))


def test_token_merging_goes_into_a_block_and_the_head_weighs_merged_tokens() -> None:
    vit = small(head=partial(ClassificationHead, pooling=AveragePooling)).eval()
    for block in vit.encoder.blocks:
        block.mixer = Chain([block.mixer, TokenMerging(4)])
    x, layout = vit.encode(torch.randn(2, 3, 32, 32))
    assert x.shape[1] == 1 + 16 - 8
    torch.testing.assert_close(layout.sizes[:, 1:].sum(1), torch.full((2,), 16.0))
    weights = layout.sizes[:, 1:, None]
    expected = (x[:, 1:] * weights).sum(1) / 16
    torch.testing.assert_close(vit.head.pool(x, layout), expected)


def test_checkpointing_changes_neither_loss_nor_gradients() -> None:
    images = torch.randn(2, 3, 32, 32)
    gradients = []
    for enable in (False, True):
        vit = small().train()
        vit.set_grad_checkpointing(enable)
        vit(images).square().sum().backward()
        gradients.append([p.grad for p in vit.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_compile_fullgraph_equals_eager() -> None:
    vit, images = small().eval(), torch.randn(2, 3, 32, 32)
    compiled = torch.compile(vit, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), vit(images))


def test_export_with_a_dynamic_batch_runs_other_batches() -> None:
    vit = small().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(vit, (torch.randn(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    images = torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(program.module()(images), vit(images))


def test_create_model_takes_timms_arguments() -> None:
    model = create_model(
        "vit_tiny_patch16_224.augreg_in21k", num_classes=0, in_chans=1, img_size=(32, 48)
    )
    assert model.pretrained_cfg["tag"] == "augreg_in21k"
    assert model(torch.randn(2, 1, 32, 48)).shape == (2, 192)
    maps = create_model(
        "vit_tiny_patch16_224", img_size=32, features_only=True, out_indices=[1, -1]
    )
    assert [tuple(m.shape) for m in maps(torch.randn(1, 3, 32, 32))] == [(1, 192, 2, 2)] * 2
    assert maps.feature_info[1]["module"] == "encoder.blocks.11"


def test_a_misspelt_name_gets_the_nearest_ones() -> None:
    with pytest.raises(UserError, match="did you mean vit_tiny_patch16_224"):
        create_model("vit_tiny_patch16_244")
    assert "deit3_small_patch16_224" in list_models("deit3_*")


def test_weight_decay_leaves_tokens_and_positions_alone() -> None:
    assert small().no_weight_decay() == {"tokens.class_token", "tokens.position.table"}


def test_more_channels_keep_what_was_learned() -> None:
    vit = small().eval()
    grey = torch.randn(2, 1, 32, 32)
    expected = vit(grey.expand(-1, 3, -1, -1))
    vit.set_channels(1)
    torch.testing.assert_close(vit(grey), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [2, 5, 6])
def test_grey_in_any_number_of_channels_is_about_as_bright(channels: int) -> None:
    embedding = small().embedding
    with torch.no_grad():
        embedding.weight.fill_(0.5)
    grey = torch.randn(2, 1, 32, 32)
    expected, _ = embedding(grey.expand(-1, 3, -1, -1))
    embedding.set_channels(channels)
    found, _ = embedding(grey.expand(-1, channels, -1, -1))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
