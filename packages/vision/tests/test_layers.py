"""Stems and image tokens."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.vision.layers import ConvolutionStem, ImageTokens, ResidualStem


def test_image_tokens_stand_in_timms_order_and_add_positions() -> None:
    torch.manual_seed(0)
    tokens = ImageTokens(4, (2, 2), distillation_token=True, registers=2)
    x = torch.randn(3, 4, 4)
    out, layout = tokens(x, Layout(grid=(2, 2)))
    assert (layout.prefix, layout.grid) == (4, (2, 2))
    front = torch.cat([tokens.class_token, tokens.distillation_token, tokens.registers], dim=1)
    expected = torch.cat([front.expand(3, -1, -1), x], dim=1) + tokens.position.table
    torch.testing.assert_close(out, expected)


def test_positions_may_spare_the_tokens_in_front() -> None:
    torch.manual_seed(0)
    tokens = ImageTokens(4, (2, 2), registers=1, position_on_prefix=False)
    x = torch.randn(3, 4, 4)
    out, _ = tokens(x, Layout(grid=(2, 2)))
    assert tokens.position.table.shape[1] == 4
    torch.testing.assert_close(out[:, 2:], x + tokens.position.table)
    torch.testing.assert_close(out[:, :1], tokens.class_token.expand(3, -1, -1))


def test_a_convolutional_stem_halves_step_by_step() -> None:
    torch.manual_seed(0)
    stem = ConvolutionStem(8, patch=4, width=4, repeats=2).eval()
    images = torch.randn(2, 3, 16, 8)
    x = images
    convolutions = [m for m in stem.modules() if isinstance(m, nn.Conv2d)]
    assert [c.stride[0] for c in convolutions] == [2, 1, 2, 1, 1]
    assert [c.out_channels for c in convolutions] == [4, 4, 8, 8, 8]
    norms = [m for m in stem.modules() if isinstance(m, nn.BatchNorm2d)]
    for convolution, norm in zip(convolutions[:-1], norms, strict=True):
        x = F.relu(norm(convolution(x)))
    expected = convolutions[-1](x).flatten(2).transpose(1, 2)
    out, layout = stem(images)
    assert layout.grid == (4, 2)
    torch.testing.assert_close(out, expected)


def test_a_residual_block_adds_its_shortcut() -> None:
    torch.manual_seed(0)
    stem = ResidualStem(8, patch=2, width=4, repeats=(1, 1)).eval()
    same, halving = stem.layers[3], stem.layers[4]
    x = torch.randn(2, 4, 8, 8)

    def branch(block: nn.Module) -> torch.Tensor:
        return block.norm2(block.conv2(F.relu(block.norm1(block.conv1(x)))))

    torch.testing.assert_close(same(x), F.relu(branch(same) + x))
    torch.testing.assert_close(halving(x), F.relu(branch(halving) + halving.shortcut(x)))
    out, layout = stem(torch.randn(2, 3, 8, 8))
    assert layout.grid == (4, 4)
    assert out.shape == (2, 16, 8)


def test_a_stem_without_blocks_at_the_end_halves_in_its_projection() -> None:
    stem = ResidualStem(8, patch=4, width=4, repeats=(1, 1, 0))
    out, layout = stem(torch.randn(1, 3, 8, 16))
    assert layout.grid == (2, 4)
    assert out.shape == (1, 8, 8)


@pytest.mark.parametrize("stem", [ConvolutionStem, ResidualStem])
def test_what_a_stem_cannot_cut_is_refused(stem: type) -> None:
    with pytest.raises(UserError, match=r"needs a patch of 2, 4, 8, \.\.\. pixels, got 6"):
        stem(8, patch=6)
    with pytest.raises(UserError, match="30x32 cannot be halved down to patches of 4"):
        stem(8, patch=4)(torch.randn(1, 3, 30, 32))
    with pytest.raises(UserError, match=r"must be \(B, 3, H, W\), got \(1, 1, 8, 8\)"):
        stem(8, patch=4)(torch.randn(1, 1, 8, 8))
