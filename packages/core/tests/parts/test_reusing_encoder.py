from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from headway.core.blocks import BottleneckAdapter, MacaronBlock
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.stacks import Encoder, ReusingEncoder
from headway.core.weights import from_pretrained, save_pretrained


def test_a_use_is_the_block_with_an_adapter_of_its_own() -> None:
    torch.manual_seed(0)
    model = ReusingEncoder(16, 6, 2, unique=2, block=MacaronBlock)
    for use in model.blocks:
        torch.nn.init.normal_(use.adapter.up.weight)
    first, second = model.blocks[0].block, model.blocks[3].block
    assert [use.block is first for use in model.blocks] == [True] * 3 + [False] * 3
    x, lengths = torch.randn(2, 7, 16), torch.tensor([7, 4])
    layout = Layout(lengths=lengths)
    wanted = x.masked_fill(torch.arange(7)[None, :, None] >= lengths[:, None, None], 0.0)
    for use, block in zip(model.blocks, [first] * 3 + [second] * 3, strict=True):
        wanted, _ = block(wanted, layout)
        wanted = wanted + use.adapter(wanted)
    torch.testing.assert_close(model(x, layout)[0], model.norm(wanted))
    alone = Encoder(16, 2, 2, block=MacaronBlock)
    adapters = sum(p.numel() for use in model.blocks for p in use.adapter.parameters())
    count = sum(p.numel() for p in model.parameters())
    assert count == sum(p.numel() for p in alone.parameters()) + adapters
    with pytest.raises(UserError, match="4 blocks cannot be used as often"):
        ReusingEncoder(16, 6, 2, unique=4)


def test_shared_blocks_are_saved_and_read(tmp_path: Path) -> None:
    model = ReusingEncoder(16, 4, 2, unique=1).eval()
    save_pretrained(model, tmp_path)
    again = from_pretrained(str(tmp_path)).eval()
    x = torch.randn(1, 5, 16)
    torch.testing.assert_close(again(x)[0], model(x)[0], atol=0, rtol=0)
    assert again.blocks[0].block is again.blocks[3].block


def test_each_use_has_a_cache_of_its_own() -> None:
    model = ReusingEncoder(16, 4, 2, unique=2, mixer=partial(SelfAttention, causal=True)).eval()
    x = torch.randn(2, 6, 16)
    cache = model.init_cache(2, 6)
    steps = [model(x[:, place : place + 1], cache=cache)[0] for place in range(6)]
    torch.testing.assert_close(torch.cat(steps, 1), model(x)[0], atol=1e-5, rtol=1e-5)


def error(seed: int, adapter) -> float:
    """How far one block, used four times, stays from uses that differ, by the mean squared error."""
    torch.manual_seed(seed)
    teacher = ReusingEncoder(16, 4, 2).eval().requires_grad_(False)
    for use in teacher.blocks:
        torch.nn.init.normal_(use.adapter.up.weight, std=0.5)
    student = ReusingEncoder(16, 4, 2, adapter=adapter)
    student.blocks[0].block.load_state_dict(teacher.blocks[0].block.state_dict())
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, 200)
    for _ in range(200):
        x = torch.randn(32, 4, 16)
        loss = F.mse_loss(student(x)[0], teacher(x)[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        x = torch.randn(200, 4, 16)
        return float(F.mse_loss(student(x)[0], teacher(x)[0]))


@pytest.mark.learns
def test_adapters_let_uses_of_one_block_differ(seed: int, measured) -> None:
    plain, adapted = error(seed, None), error(seed, BottleneckAdapter)
    measured("error with adapters, as a share", adapted / plain, below=0.75)
