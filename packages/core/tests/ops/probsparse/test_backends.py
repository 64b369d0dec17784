"""The operator against the reference, and what is asked of every operator."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from headway.core.errors import UserError
from headway.core.ops import attention
from headway.core.ops.probsparse import probsparse_attention, sample_keys, sparse_number
from headway.core.ops.probsparse.operator import probsparse_measure
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.operators import operators_of, runs_under_checkpointing


def triple(queries: int = 50, keys: int = 50, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(queries)
    shapes = [(batch, 3, queries, 8), (batch, 3, keys, 8), (batch, 3, keys, 8)]
    return [torch.randn(x, generator=generator, dtype=torch.float64) for x in shapes]


def call(query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
    factor = options.pop("factor", 2.0)
    assert isinstance(factor, float)
    mask = options.get("key_mask")
    assert mask is None or isinstance(mask, Tensor)
    sample, sample_mask = sample_keys(key.shape[2], factor, mask)
    return probsparse_attention(
        query,
        key,
        value,
        sample=sample,
        sample_mask=sample_mask,
        factor=factor,
        **options,  # pyright: ignore
    )


MASK = torch.arange(50) < torch.tensor([[50], [17]])
CASES = {
    "plain": {},
    "causal": {"causal": True},
    "scale": {"scale": 0.7},
    "masks": {"query_mask": MASK, "key_mask": MASK},
    "causal-masks": {"query_mask": MASK, "key_mask": MASK, "causal": True},
    "holes": {"key_mask": torch.arange(50).expand(2, -1) % 3 > 0},
    "a-row-of-nothing": {"key_mask": torch.arange(50) < torch.tensor([[50], [0]])},
    "every-query": {"factor": 50.0},
    "every-query-causal": {"factor": 50.0, "causal": True, "key_mask": MASK},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_it_is_the_reference_in_outputs_and_all_gradients(options: dict[str, object]) -> None:
    wanted = outputs_and_gradients(call, triple(), options | {"backend": "reference"})
    found = outputs_and_gradients(call, triple(), options)
    for name, exact in wanted.items():
        torch.testing.assert_close(found[name], exact, msg=name)


def test_blocks_of_queries_are_for_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from headway.core.ops.probsparse import blocked

    wanted = call(*triple(), causal=True)
    monkeypatch.setattr(blocked, "BLOCK", 7)
    torch.testing.assert_close(call(*triple(), causal=True), wanted)


def test_where_every_query_attends_nothing_is_measured() -> None:
    query, key, value = triple()
    names = operators_of(lambda: call(query, key, value, factor=50.0))
    assert not any("probsparse" in name or "topk" in name for name in names)
    dense = attention(query, key, value)
    assert torch.equal(call(query, key, value, factor=50.0), dense)


def test_the_number_is_that_of_the_logarithm() -> None:
    for count in (1, 2, 3, 7, 8, 20, 21, 54, 55, 1096, 1097, 10**6, 2**40):
        assert sparse_number(count, 3.0) == int(sparse_number(torch.tensor(count), 3.0))


def test_the_operator_passes_the_checks_of_torch_library() -> None:
    query, key, _ = triple()
    sample = torch.arange(0, 50, 5).expand(2, -1)
    counts = torch.tensor([50, 17])
    for mask in (None, sample < counts[:, None]):
        torch.library.opcheck(probsparse_measure, (query, key, sample, mask, counts, "blocked"))


@pytest.mark.parametrize("causal", [False, True])
def test_derivatives_are_those_of_finite_differences(causal: bool) -> None:
    made = [x[:1, :1].requires_grad_() for x in triple(9, 9)]
    assert torch.autograd.gradcheck(lambda *x: call(*x, causal=causal, factor=1.0), made)
    assert torch.autograd.gradgradcheck(lambda *x: call(*x, causal=causal, factor=1.0), made)


def test_it_compiles_in_one_graph_for_any_number_of_tokens() -> None:
    torch.compiler.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    for tokens in (50, 60, 200):
        made = triple(tokens, tokens)
        wanted = outputs_and_gradients(call, made, {"causal": True})
        found = outputs_and_gradients(compiled, made, {"causal": True})
        for name, exact in wanted.items():
            torch.testing.assert_close(found[name], exact)


class Call(nn.Module):
    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return call(query, key, value)


def test_it_exports_for_all_lengths_with_the_same_number_of_queries() -> None:
    sides = {0: torch.export.Dim("batch"), 2: torch.export.Dim("tokens", min=21, max=54)}
    program = torch.export.export(Call(), tuple(triple()), dynamic_shapes=(sides,) * 3)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any(name.startswith("headway") for name in names)
    for tokens in (21, 40, 54):
        more = triple(tokens, tokens, batch=3)
        torch.testing.assert_close(program.module()(*more), call(*more))


# PyTorch maps its own attention on the CPU by a loop, and says so.
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_vmap_and_per_sample_gradients_are_loops() -> None:
    stacked = [torch.stack([x, 0.5 * x], dim=1) for x in triple()]
    for backend in ("auto", "blocked"):
        found = torch.vmap(lambda *x, b=backend: call(*x, backend=b), in_dims=1)(*stacked)
        for n in range(2):
            torch.testing.assert_close(found[n], call(*(x[:, n] for x in stacked)))

    def loss(*one: Tensor) -> Tensor:
        return call(*(x[None] for x in one)).sin().sum()

    found = torch.vmap(torch.func.grad(loss))(*triple())
    for n in range(2):
        leaves = [x[n].requires_grad_() for x in triple()]
        torch.testing.assert_close(found[n], torch.autograd.grad(loss(*leaves), leaves[0])[0])


def test_autocast_casts_what_enters_products() -> None:
    made = [x.float() for x in triple()]
    with torch.autocast("cpu", torch.bfloat16):
        out = call(*made)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, call(*(x.bfloat16() for x in made)))


def test_selective_checkpointing_keeps_the_measure() -> None:
    made = [x.requires_grad_() for x in triple()]
    operator = torch.ops.headway.probsparse_measure.default
    runs, grads = runs_under_checkpointing(call, made, operator)
    assert runs == 1
    wanted = torch.autograd.grad(call(*made).sin().sum(), made)
    torch.testing.assert_close(grads, list(wanted))


def test_operations_of_the_measure_are_counted() -> None:
    query, key, _ = triple()
    sample = torch.arange(0, 50, 5).expand(2, -1)
    with FlopCounterMode(display=False) as counter:
        probsparse_measure(query, key, sample, None, torch.tensor([50, 50]), "blocked")
    assert counter.get_total_flops() == 2 * 2 * 3 * 50 * 10 * 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "fast"}, "'fast'; use one of"),
        ({"backend": "triton"}, "float64 has no kernel; use backend='blocked'"),
        ({"causal": True}, "as many queries as keys, got 50 and 40"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(*triple(50, 40), **change)
