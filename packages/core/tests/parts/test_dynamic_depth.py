from functools import partial

import pytest
import torch
from torch import Tensor, nn

from headway.core import taps
from headway.core.blocks import DynamicDepthBlock, MacaronBlock
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.penalties import take_penalty
from headway.core.stacks import Encoder

INNER = {"pre-norm": DynamicDepthBlock, "macaron": partial(DynamicDepthBlock, inner=MacaronBlock)}


def undecided(model: nn.Module) -> None:
    """Spreads the gates, so that some are open and some shut."""
    for block in model.modules():
        if isinstance(block, DynamicDepthBlock):
            nn.init.normal_(block.reader[0].weight, std=3.0)
            nn.init.normal_(block.reader[2].weight, std=3.0)
            nn.init.constant_(block.reader[2].bias, -2.2)


@pytest.mark.parametrize("kind", INNER)
def test_items_run_the_branches_that_are_open_and_no_others(kind: str) -> None:
    torch.manual_seed(0)
    model = Encoder(16, 3, 2, block=INNER[kind]).eval()
    undecided(model)
    x, lengths = torch.randn(6, 9, 16), torch.tensor([9, 7, 8, 3, 9, 5])
    padded = x.masked_fill(torch.arange(9)[None, :, None] >= lengths[:, None, None], torch.nan)
    gates = []
    with taps.listen(model, "gates", listener=lambda _, __, value: gates.append(value)):
        out, _ = model(padded, Layout(lengths=lengths))
    assert 0.1 < torch.cat(gates, 1).mean() < 0.9
    for row, length in enumerate(lengths.tolist()):
        alone, _ = model(x[row : row + 1, :length])
        torch.testing.assert_close(out[row, :length], alone[0], atol=1e-5, rtol=1e-5)
    # What is computed for all items and multiplied by the gates is the same.
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    whole, _ = compiled(padded, Layout(lengths=lengths))
    real = torch.arange(9) < lengths[:, None]
    torch.testing.assert_close(whole[real], out[real], atol=1e-5, rtol=1e-5)


def test_a_shut_branch_costs_nothing() -> None:
    model = Encoder(16, 2, 2, block=DynamicDepthBlock).eval()
    calls = []
    for block in model.blocks:
        nn.init.constant_(block.reader[2].bias, -50.0)
        block.block.mixer.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(2, 5, 16)
    out, _ = model(x)
    assert not calls
    torch.testing.assert_close(out, model.norm(x))


def flagged(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Items that say their answer in the first token, or only where it is to be found; and which are which."""
    x = 0.1 * torch.randn(count, 8, 12, generator=generator)
    answer = torch.randint(4, (count,), generator=generator)
    hard = torch.rand(count, generator=generator) < 0.5
    place = torch.randint(1, 8, (count,), generator=generator)
    rows = torch.arange(count)
    x[rows, torch.where(hard, place, 0), answer] += 2.0
    x[:, :, 4] += torch.where(hard, 2.0, -2.0)[:, None]  # every token says which it is
    x[rows, place, 5] += 2.0
    return x, answer, hard


class Blind(DynamicDepthBlock):
    """Gates that see the same of every item."""

    def gates(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return super().gates(torch.zeros_like(x), layout)


def trained(kind: type, seed: int) -> tuple[float, float, float]:
    """Returns the share of right answers, and how many mixers run for an easy and for a hard item."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Encoder(12, 2, 2, block=kind)
    head = nn.Linear(12, 4)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=5e-3)
    for step in range(500):
        for block in model.blocks:
            block.cost = 0.3 if step >= 200 else 0.0
        x, answer, _ = flagged(32, generator)
        loss = nn.functional.cross_entropy(head(model(x)[0][:, 0]), answer)
        penalty = take_penalty(model)
        assert penalty is not None
        optimizer.zero_grad()
        (loss + penalty).backward()
        optimizer.step()
    model.eval()
    gates = []
    x, answer, hard = flagged(500, torch.Generator().manual_seed(99))
    with (
        torch.no_grad(),
        taps.listen(model, "gates", listener=lambda _, __, value: gates.append(value[:, 0])),
    ):
        right = head(model(x)[0][:, 0]).argmax(-1) == answer
    mixers = torch.stack(gates, 1).sum(1)
    return float(right.float().mean()), float(mixers[~hard].mean()), float(mixers[hard].mean())


@pytest.mark.learns
def test_attention_runs_for_items_that_need_it(seed: int, measured) -> None:
    right, easy, hard = trained(DynamicDepthBlock, seed)
    blind, same, too = trained(Blind, seed)
    measured("right answers", right, above=0.95)
    measured("mixers that run for an easy item", easy, below=0.3)
    measured("mixers that run for a hard item", hard, above=0.9)
    # Gates that see the same of every item run it for all of them, or for none and are wrong.
    assert same == too
    assert blind < 0.8 or same >= 1


def test_penalties_are_added_once_and_no_copy_holds_a_graph() -> None:
    import copy

    model = Encoder(8, 2, 2, block=partial(DynamicDepthBlock, cost=0.5))
    model(torch.randn(3, 4, 8))
    copied = copy.deepcopy(model)
    assert take_penalty(copied) is None
    found = take_penalty(model)
    assert found is not None
    assert 0 <= found.item() <= 2 * 2 * 0.5
    assert take_penalty(model) is None
    found.backward()
    assert model.blocks[0].reader[2].weight.grad.abs().sum() > 0
    model.eval()(torch.randn(3, 4, 8))
    assert take_penalty(model) is None


def test_what_gates_cannot_do_is_one_line() -> None:
    model = DynamicDepthBlock(8, 2)
    with pytest.raises(UserError, match="cannot run step by step"):
        model.init_cache(1, 4)
    with pytest.raises(UserError, match="threshold 1.5 is a probability"):
        DynamicDepthBlock(8, 2, threshold=1.5)
    packed = Layout(offsets=torch.tensor([0, 4]), max_length=4)
    with pytest.raises(UserError, match="pad them"):
        model(torch.randn(1, 4, 8), packed)
