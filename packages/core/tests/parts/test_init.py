"""What begins in a way of its own does so in every model, whoever initialises the rest."""

import torch
from torch import nn
from torch.nn import functional as F

from headway.core.blocks import ConditionedBlock, PreNormBlock
from headway.core.init import init_transformer_
from headway.core.mixers import DeformableAttention, SelectiveScan, SelfAttention


def test_linear_layers_are_drawn_and_biases_zero() -> None:
    layer = nn.Linear(64, 64)
    init_transformer_(layer)
    assert layer.bias.abs().max() == 0
    assert 0.9 < layer.weight.std() / (2 / 128) ** 0.5 < 1.1


def test_a_conditioned_block_changes_nothing_at_first() -> None:
    torch.manual_seed(0)
    stack = nn.ModuleList([ConditionedBlock(16, 2, mixer=SelfAttention)])
    init_transformer_(stack)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(stack[0](x, torch.randn(2, 16)), x, rtol=0, atol=0)


def test_deformable_attention_looks_in_all_directions_at_first() -> None:
    block = PreNormBlock(
        16, 4, mixer=lambda dim, heads: DeformableAttention(dim, heads, levels=1, points=2)
    )
    init_transformer_(block)
    [mixer] = [part for part in block.modules() if isinstance(part, DeformableAttention)]
    assert mixer.offsets.weight.abs().max() == 0
    assert mixer.weights.weight.abs().max() == 0
    steps = mixer.offsets.bias.view(4, 2, 2)
    # Four heads: right, down, left, up; the second point twice as far.
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    torch.testing.assert_close(steps[:, 0], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(steps[:, 1], 2 * expected, rtol=0, atol=1e-6)


def test_a_selective_scan_begins_with_steps_of_its_range() -> None:
    torch.manual_seed(0)
    block = PreNormBlock(
        32, 2, mixer=lambda dim, heads: SelectiveScan(dim, heads, step_range=(0.01, 0.1))
    )
    init_transformer_(block)
    [mixer] = [part for part in block.modules() if isinstance(part, SelectiveScan)]
    steps = F.softplus(mixer.step.bias)
    assert 0.01 <= steps.min() < 0.02
    assert 0.05 < steps.max() <= 0.1 + 1e-6
