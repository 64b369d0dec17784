"""Blocks whose branches are chosen by a condition."""

import torch

from headway.core.blocks import ConditionedBlock
from headway.core.embeddings import step_embedding
from headway.core.layout import Layout


def test_a_conditioned_block_changes_nothing_at_first_and_then_what_the_condition_says() -> None:
    torch.manual_seed(0)
    block, x = ConditionedBlock(8, 2), torch.randn(3, 5, 8)
    condition = step_embedding(torch.tensor([1, 2, 3]), 8)
    assert torch.equal(block(x, condition), x)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    found = block(x, condition)
    assert not torch.allclose(block(x, condition.roll(1, dims=0)), found)
    # An item with padding is what it is alone.
    padded = block(x, condition, Layout(lengths=torch.tensor([5, 3, 5])))
    torch.testing.assert_close(padded[1, :3], block(x[1:2, :3], condition[1:2])[0])
