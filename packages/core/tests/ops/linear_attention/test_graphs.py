"""As an operator: traced, exported, mapped, checkpointed, counted, differentiated twice."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from headway.core.ops import linear_attention
from headway.core.ops.linear_attention.operator import (
    linear_attention_backward,
    linear_attention_forward,
)
from headway.core.testing.operators import operators_of, runs_under_checkpointing


def tensors(tokens: int, batch: int = 2, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    shapes = [(batch, 2, tokens, 3), (batch, 2, tokens, 3), (batch, 2, tokens, 4)]
    shapes += [(batch, 2, tokens, 1), (batch, 2, 3, 5)]
    made = [torch.rand(shape, generator=generator, dtype=dtype) for shape in shapes]
    made[3] = -made[3]
    return [x.requires_grad_() for x in made]


def call(*made: Tensor, backend: str = "chunked") -> Tensor:
    """Output and state as one tensor, so that both are compared and differentiated."""
    query, key, value, decay, state = made
    out, last = linear_attention(
        query, key, value, causal=True, log_decay=decay, state=state, backend=backend
    )
    return torch.cat([out.flatten(2), last.flatten(2)], dim=2)


def test_the_operators_pass_the_checks_of_torch_library() -> None:
    query, key, value, decay, state = tensors(5, dtype=torch.float32)
    for log_decay in (None, decay):
        inputs = (query, key, value, log_decay, state, True, "chunked")
        torch.library.opcheck(linear_attention_forward, inputs)
        out, total, last = (x.detach() for x in linear_attention_forward(*inputs))
        grads = (torch.ones_like(out), torch.ones_like(last))
        torch.library.opcheck(
            linear_attention_backward,
            (*grads, *inputs[:5], out, total, True, "chunked"),
            test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
        )


def test_first_and_second_derivatives_are_those_of_finite_differences() -> None:
    made = tensors(4, batch=1)
    assert torch.autograd.gradcheck(call, made)
    assert torch.autograd.gradgradcheck(call, made)


def test_it_compiles_in_one_graph_for_any_number_of_tokens() -> None:
    torch.compiler.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=True)
    for tokens in (66, 130):
        made = tensors(tokens)
        found, wanted = compiled(*made), call(*made)
        torch.testing.assert_close(found, wanted)
        grad = torch.randn_like(wanted)
        torch.testing.assert_close(
            torch.autograd.grad(found, made, grad), torch.autograd.grad(wanted, made, grad)
        )


class Call(nn.Module):
    def __init__(self, backend: str) -> None:
        super().__init__()
        self.backend = backend

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return linear_attention(query, key, value, causal=True, backend=self.backend)[0]


@pytest.mark.parametrize("backend", ["auto", "chunked"])
def test_it_exports_with_any_batch_and_number_of_tokens(backend: str) -> None:
    sides = {0: torch.export.Dim("batch"), 2: torch.export.Dim("tokens", min=2)}
    example = tuple(x.detach() for x in tensors(70)[:3])
    program = torch.export.export(Call(backend), example, dynamic_shapes=(sides,) * 3)
    names = [str(node.target) for node in program.graph.nodes]
    assert "headway.linear_attention_forward.default" in names
    for tokens in (5, 64, 200):
        more = [x.detach() for x in tensors(tokens, batch=3)[:3]]
        torch.testing.assert_close(program.module()(*more), Call("reference")(*more))


def test_for_a_known_number_of_tokens_the_exported_graph_holds_standard_operators_alone() -> None:
    example = tuple(x.detach() for x in tensors(70)[:3])
    sides = ({0: torch.export.Dim("batch")},) * 3
    program = torch.export.export(Call("auto"), example, dynamic_shapes=sides)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(name.startswith(("aten.", "<built-in", "_operator.")) for name in names)
    more = [x.detach() for x in tensors(70, batch=3)[:3]]
    torch.testing.assert_close(program.module()(*more), Call("reference")(*more))


@pytest.mark.parametrize("dims", [(0, 0, 0, 0, 0), (1, None, 2, None, 0)], ids=str)
def test_vmap_is_a_loop(dims: tuple[int | None, ...]) -> None:
    made = [x.detach() for x in tensors(5)]
    stacked = [
        x if dim is None else torch.stack([x, 0.5 * x, 0.25 * x], dim=dim)
        for x, dim in zip(made, dims, strict=True)
    ]
    found = torch.vmap(call, in_dims=dims)(*stacked)
    for n in range(3):
        one = [x if dim is None else x.select(dim, n) for x, dim in zip(stacked, dims, strict=True)]
        torch.testing.assert_close(found[n], call(*one))


def test_per_sample_gradients_are_those_of_each_sample() -> None:
    made = [x.detach() for x in tensors(5)]

    def loss(*one: Tensor) -> Tensor:
        return call(*(x[None] for x in one), backend="auto").sin().sum()

    found = torch.vmap(torch.func.grad(loss, argnums=(0, 1, 2, 3, 4)))(*made)
    for n in range(2):
        leaves = [x[n].clone().requires_grad_() for x in made]
        wanted = torch.autograd.grad(loss(*leaves), leaves)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one[n], other)


def test_autocast_casts_what_enters_products_and_not_the_state() -> None:
    query, key, value, *_ = (x.detach().float() for x in tensors(70))
    with torch.autocast("cpu", torch.bfloat16):
        out, state = linear_attention(query, key, value.bfloat16(), causal=True)
        names = operators_of(lambda: linear_attention(query, key, value, causal=True))
    assert out.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    assert "headway.linear_attention_forward.default" in names
    halves = [x.bfloat16() for x in (query, key, value)]
    wanted, _ = linear_attention(*halves, causal=True)
    assert torch.equal(out, wanted)


def test_selective_checkpointing_keeps_it() -> None:
    made = tensors(70)
    operator = torch.ops.headway.linear_attention_forward.default
    runs, grads = runs_under_checkpointing(call, made, operator)
    assert runs == 1
    wanted = torch.autograd.grad(call(*made).sin().sum(), made)
    torch.testing.assert_close(grads, list(wanted))


def test_operations_are_counted_and_grow_with_the_tokens() -> None:
    def count(tokens: int) -> tuple[int, int]:
        made = tensors(tokens)
        with FlopCounterMode(display=False) as counter:
            out = call(*made)
            forward = counter.get_total_flops()
            out.sum().backward()
        return forward, counter.get_total_flops() - forward

    forward, backward = count(100)
    # Two products of width 3 and 4 with 64 keys, two with a state of 3 times 4, per token and head.
    assert forward == 2 * 4 * 100 * (64 * (3 + 4) + 2 * 3 * 4)
    assert 2 * forward < backward < 3 * forward
    assert count(200) == (2 * forward, 2 * backward)
