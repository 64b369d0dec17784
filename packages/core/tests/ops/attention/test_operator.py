"""The fused operators as PyTorch's machinery sees them: compiled, exported, mapped, counted, differentiated.

Run in a process of their own: TRITON_INTERPRET=1 pytest -m interpret.
"""

from collections.abc import Iterator

import pytest
import torch
from attention_cases import Options, normal, relative, some, triple, with_lse
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from torch.utils.flop_counter import FlopCounterMode

from headway.core.ops import BackendError, attention, attention_with_lse
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products

    with bfloat16_products(), nan_filled_memory():
        yield


@pytest.fixture
def everything() -> Options:
    """All options that go together, for 9 queries and 9 keys of 2 items with 2 heads."""
    return {
        "bias": normal(2, 9, 9),
        "relative_query": normal(2, 2, 9, 16),
        "distance_key": normal(2, 17, 16, seed=9),
        "mask": some(2, 1, 9, 9),
        "lengths": torch.tensor([5, 9]),
        "causal": True,
        "window": (6, None),
        "scale": normal(2),
        "alibi_slopes": normal(2).abs(),
        "table": normal(19, 2),
        "index": relative(9, 9),
        "softcap": 2.0,
        "sinks": normal(2, seed=3),
        "dropout": 0.2,
        "seed": 9,
    }


TWICE: dict[str, Options] = {
    "plain": {},
    "causal": {"causal": True},
    "lengths": {"lengths": torch.tensor([5, 0])},
    "bias": {"bias": normal(2, 9, 9), "lengths": torch.tensor([5, 0])},
}


@pytest.mark.parametrize("options", [*TWICE.values(), None], ids=[*TWICE, "all"])
def test_second_derivatives_are_those_of_the_reference(
    options: Options | None, everything: Options
) -> None:
    chosen = everything if options is None else options
    names = [n for n, x in chosen.items() if isinstance(x, Tensor) and x.is_floating_point()]

    def twice(*leaves: Tensor, backend: str, **given: object) -> Tensor:
        out, lse = attention_with_lse(*leaves, **given, backend=backend)  # pyright: ignore
        lse = lse.masked_fill(lse == -torch.inf, 0.0)
        inputs = [*leaves, *(given[name] for name in names)]
        first = torch.autograd.grad(
            out.square().sum() + lse.square().sum(),
            inputs,  # pyright: ignore
            create_graph=True,
        )
        return torch.cat([grad.square().flatten() for grad in first])

    tensors = triple(queries=9, keys=9)
    wanted = outputs_and_gradients(twice, tensors, chosen | {"backend": "reference"})
    found = outputs_and_gradients(
        twice, tensors, chosen | {"backend": "triton"}, dtype=torch.float32
    )
    for name, exact in wanted.items():
        error = (found[name].double() - exact).abs().max()
        assert error <= 1e-4 * (1.0 + exact.abs().max()), f"{name}: {error}"


def single(options: Options) -> Options:
    """The options with floating-point tensors in float32."""
    return {
        name: x.float() if isinstance(x, Tensor) and x.is_floating_point() else x
        for name, x in options.items()
    }


def flat(options: Options) -> tuple[object, ...]:
    """The arguments of the operator behind query, key and value, in its order."""
    scale, window = options.get("scale", 0.25), options.get("window", (None, None))
    seed = options.get("seed")
    assert isinstance(window, tuple)
    names = ("bias", "alibi_slopes", "table")
    sides = (options.get("relative_query"), options.get("distance_key"))
    more = ("mask", "lengths", "offsets", "key_offsets", "index")
    return (
        *(options.get(name) for name in names),
        scale if isinstance(scale, Tensor) else None,
        options.get("sinks"),
        *sides,
        *(options.get(name) for name in more),
        None if seed is None else torch.tensor(seed),
        1.0 if isinstance(scale, Tensor) else scale,
        "bottom-right" if options.get("causal") else "none",
        *window,
        options.get("softcap"),
        options.get("dropout", 0.0),
    )


PACKED: Options = {
    "offsets": torch.tensor([0, 4, 9]),
    "key_offsets": torch.tensor([0, 3, 8]),
    "causal": True,
}


@pytest.mark.parametrize("name", ["plain", "bias", "packed", "all"])
def test_the_operators_pass_the_checks_of_torch_library(name: str, everything: Options) -> None:
    from headway.core.ops.attention.operator import attention_backward, attention_forward

    batch = 1 if name == "packed" else 2
    options = single({**TWICE, "packed": PACKED, "all": everything}[name])
    query, key, value = (x.float().requires_grad_() for x in triple(batch, queries=9, keys=9))
    arguments = flat(options)
    for x in arguments:
        if isinstance(x, Tensor) and x.is_floating_point():
            x.requires_grad_()
    torch.library.opcheck(attention_forward, (query, key, value, *arguments))
    with torch.no_grad():
        out, lse = attention_forward(query, key, value, *arguments)
    grad_out, grad_lse = torch.ones_like(out), torch.ones_like(lse)
    wanted = [isinstance(x, Tensor) for x in arguments[:7]]
    torch.library.opcheck(
        attention_backward,
        (query, key, value, *arguments, grad_out, grad_lse, out, lse, wanted),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("name", ["bias", "packed", "all"])
def test_it_compiles_in_one_graph_that_keeps_the_operator(name: str, everything: Options) -> None:
    torch.compiler.reset()
    options = {**TWICE, "packed": PACKED, "all": everything}[name] | {"backend": "triton"}
    compiled = torch.compile(with_lse, fullgraph=True, backend="aot_eager", dynamic=True)
    batch = 1 if name == "packed" else 2
    tensors = triple(batch, queries=9, keys=9)
    wanted = outputs_and_gradients(with_lse, tensors, options, dtype=torch.float32)
    found = outputs_and_gradients(compiled, tensors, options, dtype=torch.float32)
    for key, tensor in wanted.items():
        torch.testing.assert_close(found[key], tensor)


class Call(nn.Module):
    def forward(self, query: Tensor, key: Tensor, value: Tensor, lengths: Tensor) -> Tensor:
        slopes = torch.tensor([0.5, 0.1])
        return attention(
            query,
            key,
            value,
            lengths=lengths,
            causal=True,
            window=(30, None),
            alibi_slopes=slopes,
            softcap=5.0,
            backend="triton",
        )


def test_it_exports_with_free_batch_and_lengths_and_keeps_the_operator() -> None:
    batch, queries, keys = (torch.export.Dim(name) for name in ("batch", "queries", "keys"))
    sides = ({0: batch, 2: queries}, {0: batch, 2: keys}, {0: batch, 2: keys}, {0: batch})
    example = (*(x.float() for x in triple(queries=9, keys=12)), torch.tensor([3, 12]))
    program = torch.export.export(Call(), example, dynamic_shapes=sides)
    names = [str(node.target) for node in program.graph.nodes]
    assert "headway.attention_forward.default" in names
    for sizes in ((5, 7, 20), (2, 9, 9)):
        more = [x.float() for x in triple(sizes[0], queries=sizes[1], keys=sizes[2])]
        lengths = torch.arange(sizes[0]) + 1
        torch.testing.assert_close(program.module()(*more, lengths), Call()(*more, lengths))


MAPPED: dict[str, tuple[Options, dict[str, int | None]]] = {
    "plain": ({}, {}),
    "shared-bias": ({"bias": normal(2, 9, 9)}, {}),
    "own-bias": ({"bias": normal(2, 3, 9, 9)}, {"bias": 1}),
    "own-mask": ({"mask": some(3, 2, 1, 1, 9)}, {"mask": 0}),
    "lengths": ({"lengths": torch.tensor([[3, 9], [1, 0], [4, 4]])}, {"lengths": 0}),
    "own-slopes": ({"alibi_slopes": normal(3, 2).abs(), "causal": True}, {"alibi_slopes": 0}),
    "table": (
        {
            "table": normal(5, 2),
            "index": torch.stack([relative(9, 9, n) for n in range(3)]).long(),
        },
        {"index": 0},
    ),
    "dropout": ({"dropout": 0.5, "seed": 3}, {}),
    "distances": (
        {"relative_query": normal(2, 3, 2, 9, 16), "distance_key": normal(2, 17, 16, seed=9)},
        {"relative_query": 1},
    ),
    "own-distances": (
        {"relative_query": normal(2, 2, 9, 16), "distance_key": normal(3, 1, 17, 16, seed=9)},
        {"distance_key": 0},
    ),
}


@pytest.mark.parametrize("case", MAPPED)
def test_mapped_over_an_axis_it_equals_one_call_each_in_gradients_too(case: str) -> None:
    options, dims = MAPPED[case]
    options = single(options)
    names = list(options)
    fixed = {n: x for n, x in options.items() if not isinstance(x, Tensor)}
    tensors = [x for x in options.values() if isinstance(x, Tensor)]
    in_dims = (0, None, 1, *(dims.get(n) for n in names if n not in fixed))
    query = torch.stack([x.float() for x in (normal(2, 2, 9, 16, seed=n) for n in range(3))])
    key = normal(2, 2, 9, 16, seed=5).float()
    value = torch.stack([normal(2, 2, 9, 16, seed=n).float() for n in range(6, 9)], dim=1)
    inputs = [
        x.requires_grad_() if x.is_floating_point() else x for x in (query, key, value, *tensors)
    ]
    keys = [n for n in names if n not in fixed]

    def call(query: Tensor, key: Tensor, value: Tensor, *given: Tensor) -> Tensor:
        named = dict(zip(keys, given, strict=True))
        return attention(query, key, value, **named, **fixed, backend="triton")  # pyright: ignore

    mapped = torch.vmap(call, in_dims=in_dims)(*inputs)
    each = torch.stack(
        [
            call(
                *(x if d is None else x.select(d, n) for x, d in zip(inputs, in_dims, strict=True))
            )
            for n in range(3)
        ]
    )
    torch.testing.assert_close(mapped, each)
    leaves = [x for x in inputs if x.requires_grad]
    grad = normal(*mapped.shape, seed=1).float()
    for one, other in zip(
        torch.autograd.grad(mapped, leaves, grad),
        torch.autograd.grad(each, leaves, grad),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_transforms_that_differentiate_are_refused_and_go_elsewhere_by_themselves() -> None:
    query, key, value = (x.float() for x in triple(queries=9, keys=9))

    def loss(query: Tensor, backend: str) -> Tensor:
        return attention(query, key, value, softcap=1.0, backend=backend).square().sum()

    with pytest.raises(BackendError, match=r"torch\.func\.grad .*; use torch\.autograd"):
        torch.func.grad(loss)(query, "triton")
    torch.testing.assert_close(
        torch.func.grad(loss)(query, "auto"),
        torch.autograd.grad(loss(query.requires_grad_(), "triton"), query)[0],
    )


def test_autocast_gives_the_kernels_its_type_and_keeps_parameters_wide() -> None:
    tensors = [x.float().requires_grad_() for x in triple(queries=9, keys=9)]
    bias = normal(2, 9, 9).float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attention(*tensors, bias=bias, backend="triton")
    plain = attention(*(x.bfloat16() for x in tensors), bias=bias, backend="triton")
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, plain)
    grads = torch.autograd.grad(out, [*tensors, bias], torch.ones_like(out))
    assert [x.dtype for x in grads] == [torch.float32] * 4


def test_the_counter_of_flops_knows_forward_backward_and_packing() -> None:
    tensors = [x.float().requires_grad_() for x in triple(queries=9, keys=12, value_width=24)]
    with FlopCounterMode(display=False) as forward:
        out = attention(*tensors, backend="triton")
    pairs = 2 * 2 * 9 * 12
    assert forward.get_total_flops() == 2 * pairs * (16 + 24)
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    assert backward.get_total_flops() == 2 * pairs * (3 * 16 + 2 * 24)
    packed = [x.float() for x in triple(1, queries=9, keys=9)]
    with FlopCounterMode(display=False) as items:
        attention(*packed, offsets=torch.tensor([0, 4, 9]), backend="triton")
    assert items.get_total_flops() == 2 * 2 * (4 * 4 + 5 * 5) * 32


def test_selective_checkpointing_can_keep_its_output() -> None:
    from headway.core.ops.attention.triton import launch

    calls: list[str] = []
    original = launch.forward

    def counted(request: object) -> object:
        calls.append("forward")
        return original(request)  # pyright: ignore

    def policy(context: object, op: object, *args: object, **named: object) -> CheckpointPolicy:
        kept = op == torch.ops.headway.attention_forward.default
        return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE

    tensors = [x.float().requires_grad_() for x in triple(queries=9, keys=9)]

    def block(*inputs: Tensor) -> Tensor:
        return attention(*(x.sin() for x in inputs), backend="triton")

    wanted = torch.autograd.grad(block(*tensors).sum(), tensors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "forward", counted)
        out = checkpoint(
            block,
            *tensors,
            use_reentrant=False,
            context_fn=lambda: create_selective_checkpoint_contexts(policy),
        )
        found = torch.autograd.grad(out.sum(), tensors)
    assert calls == ["forward"]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
