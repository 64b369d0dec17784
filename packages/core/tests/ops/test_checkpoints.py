"""Selective activation checkpoints keep what the kernels computed, and graphs hold them as one operator."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from headway.core.ops import (
    deformable_attention,
    linear_attention,
    neighbourhood_attention,
    selective_scan,
    window_attention,
)

pytestmark = pytest.mark.interpret
Case = tuple[str, Callable[..., Tensor], list[Tensor]]


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products

    with bfloat16_products():
        yield


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).requires_grad_()


def windows() -> Case:
    index = torch.arange(16).view(4, 4) % 5

    def run(projected: Tensor, table: Tensor) -> Tensor:
        return window_attention(
            projected.sin(),
            heads=2,
            grid=(4, 4),
            window=(2, 2),
            shift=(1, 1),
            table=table,
            index=index,
            backend="triton",
        )

    return "window_attention_forward", run, [normal(2, 16, 96, seed=1), normal(5, 2, seed=2)]


def deformable() -> Case:
    def run(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        places, shares = locations.sigmoid(), weights.sigmoid()
        return deformable_attention(
            value, places, shares, levels=[(3, 4), (2, 2)], backend="triton"
        )

    inputs = [normal(2, 16, 2, 16, seed=1), normal(2, 5, 2, 2, 3, 2, seed=2)]
    return "deformable_attention_forward", run, [*inputs, normal(2, 5, 2, 2, 3, seed=3)]


def neighbourhoods() -> Case:
    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return neighbourhood_attention(
            query.sin(), key, value, grid=(4, 5), window=(3, 3), backend="triton"
        )

    return "neighbourhood_forward", run, [normal(2, 2, 20, 16, seed=n) for n in range(3)]


def linear() -> Case:
    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return linear_attention(
            query.sigmoid(), key.sigmoid(), value, causal=True, backend="triton"
        )[0]

    return "linear_attention_forward", run, [normal(2, 2, 20, 16, seed=n) for n in range(3)]


def scan() -> Case:
    def run(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        return selective_scan(u, delta.sigmoid(), -A.exp(), B, C, backend="triton")[0]

    inputs = [normal(2, 9, 4, seed=1), normal(2, 9, 4, seed=2), normal(4, 8, seed=3)]
    return "selective_scan_forward", run, [*inputs, *(normal(2, 9, 8, seed=n) for n in (4, 5))]


CASES = {f.__name__: f for f in (windows, deformable, neighbourhoods, linear, scan)}


class Calls(TorchDispatchMode):
    """Counts the calls of an operator."""

    def __init__(self, operator: object) -> None:
        super().__init__()
        self.operator, self.count = operator, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.count += func == self.operator
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("keep", [True, False])
def test_a_kept_result_is_not_computed_again(name: str, keep: bool) -> None:
    operator, run, leaves = CASES[name]()
    forward = getattr(torch.ops.headway, operator).default

    def policy(context: object, op: object, *args: object, **named: object) -> CheckpointPolicy:
        kept = keep and op == forward
        return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE

    wanted = torch.autograd.grad(run(*leaves).square().sum(), leaves)
    out = checkpoint(
        run,
        *leaves,
        use_reentrant=False,
        context_fn=lambda: create_selective_checkpoint_contexts(policy),
    )
    with Calls(forward) as calls:
        found = torch.autograd.grad(out.square().sum(), leaves)
    assert calls.count == (0 if keep else 1)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", CASES)
def test_exported_with_a_free_batch_it_is_the_same_operator(name: str) -> None:
    operator, run, leaves = CASES[name]()

    class Call(nn.Module):
        def forward(self, *inputs: Tensor) -> Tensor:
            return run(*inputs)

    # Parameters of the op, without a batch, are those of another first size.
    size = leaves[0].shape[0]
    batch = torch.export.Dim("batch", max=64)
    free = tuple({0: batch} if x.shape[0] == size else {} for x in leaves)
    example = tuple(x.detach() for x in leaves)
    program = torch.export.export(Call(), example, dynamic_shapes=(free,))
    assert any(operator in str(node.target) for node in program.graph.nodes)
    many = tuple(torch.cat([x] * 2) if sides else x for x, sides in zip(example, free, strict=True))
    torch.testing.assert_close(program.module()(*many), run(*many))


@pytest.mark.parametrize("name", CASES)
def test_compiled_with_free_sizes_it_has_equal_gradients(name: str) -> None:
    torch.compiler.reset()
    _, run, leaves = CASES[name]()
    graph = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=True)
    found = torch.autograd.grad(graph(*leaves).square().sum(), leaves)
    wanted = torch.autograd.grad(run(*leaves).square().sum(), leaves)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
