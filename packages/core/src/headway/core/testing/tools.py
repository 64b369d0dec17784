"""What the tests of all domains ask of the toolboxes."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from headway.core.changes import new_parameters
from headway.core.finetune import (
    Adapters,
    BitFit,
    HeadOnly,
    LastBlocks,
    LoRA,
    LoRALinear,
    hold_frozen_statistics,
    load_adapter,
    merge,
    save_adapter,
)
from headway.core.finetune.base import heads_of


def check_lora(model: nn.Module, run: Callable[[nn.Module], Tensor]) -> None:
    """Asserts that LoRA starts as the model, trains nothing but itself and the head, and merges exactly.

    Args:
        model: In float64, in evaluation mode.
        run: Calls the model and returns what it answers.
    """
    before = run(model).detach()
    kept = {name: value.detach().clone() for name, value in model.named_parameters()}
    heads = {id(parameter) for head in heads_of(model) for parameter in head.parameters()}
    LoRA(rank=2).apply(model)
    torch.testing.assert_close(run(model), before)
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    adapters = {name for name in learning if ".up." in name or ".down." in name}
    assert adapters
    assert all(name in adapters or id(p) in heads for name, p in learning.items())
    optimizer = torch.optim.SGD(learning.values(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        run(model).square().mean().backward()
        optimizer.step()
    for name, value in model.named_parameters():
        if name not in learning:
            assert torch.equal(value, kept[name.replace(".base.", ".")]), name
        elif ".up." in name:
            assert value.abs().sum() > 0, name
    adapted = run(model).detach()
    assert not torch.allclose(adapted, before)
    merge(model)
    assert not any(isinstance(module, LoRALinear) for module in model.modules())
    torch.testing.assert_close(run(model), adapted, atol=1e-10, rtol=1e-10)


STRATEGIES = (LoRA(rank=2), HeadOnly(), LastBlocks(1), BitFit())


def check_adapters(
    make: Callable[[], nn.Module],
    change: Callable[[nn.Module], object],
    run: Callable[[nn.Module], Tensor],
    folder: Path,
) -> None:
    """Asserts for each way to fine-tune a changed model that what is new learns, and what is saved suffices.

    Args:
        make: Builds the base, always with the same weights, in float64.
        change: Changes it as its data would: classes, channels, vocabulary, statistics.
        run: Calls a changed model and returns what it answers.
        folder: For the files.
    """
    adapters = Adapters(make().eval())
    answers = {}
    for strategy in STRATEGIES:
        name = type(strategy).__name__
        tuned = make()
        change(tuned)
        new = new_parameters(tuned)
        strategy.apply(tuned)
        before = {key: value.detach().clone() for key, value in tuned.named_parameters()}
        learning = [p for p in tuned.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(learning, lr=0.01)
        tuned.train()
        hold_frozen_statistics(tuned)
        for _ in range(2):
            optimizer.zero_grad()
            run(tuned).square().mean().backward()
            optimizer.step()
        for key, value in tuned.named_parameters():
            if key in new:
                assert not torch.equal(value, before[key]), f"{name} leaves {key} as it began"
        save_adapter(tuned, folder / name)
        answers[name] = run(tuned.eval()).detach()
        again = load_adapter(make().eval(), folder / name)
        assert not any(module.training for module in again.modules()), name
        torch.testing.assert_close(run(again), answers[name], atol=1e-6, rtol=1e-6)
        adapters.load(name, folder / name)
    for name, answer in answers.items():  # side by side: none has touched another
        torch.testing.assert_close(run(adapters[name]), answer, atol=1e-6, rtol=1e-6)
    base = make()
    for key, value in adapters.base.state_dict().items():
        assert torch.equal(value, base.state_dict()[key]), key


def token_slopes(stack: nn.Module, run: Callable[[], Tensor], *, step: float = 1e-5) -> Tensor:
    """Returns the derivative of answers with respect to the size of each token that enters a stack.

    Measured by central differences: what gradient x input computes, in another way.

    Args:
        stack: Where the tokens enter.
        run: Returns the answers, (B,), in float64.
        step: How far the tokens are scaled, up and down.

    Shape:
        Output: (B, N).
    """
    scales = torch.ones(())

    def enter(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (arguments[0] * scales[..., None], *arguments[1:])

    def count(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        counted.append(arguments[0].shape[1])

    counted: list[int] = []
    with torch.no_grad(), stack.register_forward_pre_hook(count):
        run()
    slopes = []
    with torch.no_grad(), stack.register_forward_pre_hook(enter):
        for direction in torch.eye(counted[0], dtype=torch.float64) * step:
            scales = 1 + direction
            above = run()
            scales = 1 - direction
            slopes.append((above - run()) / (2 * step))
    return torch.stack(slopes, dim=1)
