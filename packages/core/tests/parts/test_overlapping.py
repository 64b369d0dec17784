"""Patches that overlap, and the norm of a whole item, against PyTorch's convolution and group norm."""

import pytest
import torch
from torch import nn

from headway.core.embeddings import OverlappingPatchEmbedding
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.norms import GlobalLayerNorm
from headway.core.resample import OverlappingPatchMerging, PatchMerging


@pytest.mark.parametrize(("patch", "kernel", "padding"), [(4, 7, 2), (2, 3, 1), (3, 5, 0)])
@pytest.mark.parametrize("size", [(12, 12), (17, 22)])
def test_tokens_are_those_of_a_convolution(patch: int, kernel: int, padding: int, size) -> None:
    torch.manual_seed(0)
    ours = OverlappingPatchEmbedding(6, patch=patch, kernel=kernel, padding=padding, channels=5)
    theirs = nn.Conv2d(5, 6, kernel, stride=patch, padding=padding)
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 5, *size)
    maps = theirs(images)
    tokens, layout = ours(images)
    assert layout.grid == tuple(maps.shape[2:]) == ours.grid(size)
    torch.testing.assert_close(tokens, maps.flatten(2).transpose(1, 2))
    merging = OverlappingPatchMerging(5, 6, patch=patch, kernel=kernel, padding=padding)
    merging.projection.load_state_dict(ours.state_dict())
    tokens, layout = merging(images.flatten(2).transpose(1, 2), Layout(grid=size))
    assert layout.grid == tuple(maps.shape[2:])
    torch.testing.assert_close(tokens, maps.flatten(2).transpose(1, 2))


def test_what_is_no_full_map_or_too_small_is_refused() -> None:
    x = torch.zeros(1, 5, 4)
    for part in (OverlappingPatchMerging(4), PatchMerging(4)):
        name = type(part).__name__
        with pytest.raises(UserError, match=f"{name} needs a layout with a grid"):
            part(x, Layout())
        with pytest.raises(UserError, match=f"{name} needs a full grid"):
            part(x, Layout(grid=(2, 2), prefix=1))
    with pytest.raises(UserError, match="resize it to 3 pixels or more"):
        OverlappingPatchEmbedding(4)(torch.zeros(1, 3, 2, 8))
    with pytest.raises(UserError, match="padding 7 between 0 and kernel 7"):
        OverlappingPatchEmbedding(4, padding=7)


def test_new_channels_keep_what_was_learned() -> None:
    embedding = OverlappingPatchEmbedding(4)
    grey = torch.randn(1, 1, 16, 16)
    expected, _ = embedding(grey.expand(-1, 3, -1, -1))
    embedding.set_channels(1)
    torch.testing.assert_close(embedding(grey)[0], expected)


def test_the_norm_of_an_item_is_a_group_norm_with_one_group() -> None:
    torch.manual_seed(0)
    ours, theirs = GlobalLayerNorm(6, eps=1e-4), nn.GroupNorm(1, 6, eps=1e-4)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 10, 6, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    mine, other = ours(x), theirs(y.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(mine, other)
    mine.square().sum().backward()
    other.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
