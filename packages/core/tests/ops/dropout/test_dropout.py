"""Dropout: which elements it keeps, its gradient, and how it behaves in the rest of PyTorch."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.ops.dropout import dropout, native, reference, seeded_dropout

compiled = pytest.mark.skipif(
    native.reason_against(torch.zeros(1)) is not None, reason="no C++ compiler here"
)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 4099])
@pytest.mark.parametrize("seed", [0, 3, 2**32 - 1])
def test_the_kernel_drops_what_the_reference_drops(
    dtype: torch.dtype, count: int, seed: int
) -> None:
    x = torch.randn(count).to(dtype)
    found = native.dropout(x, seed, 0.3)
    wanted = reference.dropout(x.double(), seed, 0.3)
    assert torch.equal(found == 0, wanted == 0)
    torch.testing.assert_close(found, wanted.to(dtype))


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.9])
def test_elements_stay_with_the_rate_and_apart_from_each_other(rate: float) -> None:
    torch.manual_seed(1)
    x = torch.ones(400, 1000)
    kept = (dropout(x, rate) != 0).double()
    # Five deviations of a binomial count.
    limit = 5 * math.sqrt(rate * (1 - rate) / x.numel())
    assert abs(kept.mean() - (1 - rate)) < limit
    again = (dropout(x, rate) != 0).double()
    for other in (kept.roll(1, 1), kept.roll(1, 0), kept.roll(8, 1), again):
        together = ((kept - kept.mean()) * (other - other.mean())).mean()
        assert abs(together) < 5 * rate * (1 - rate) / math.sqrt(x.numel())


def test_the_gradient_meets_the_same_draws_and_has_one_itself() -> None:
    x = torch.randn(3, 5000, requires_grad=True)
    out = dropout(x, 0.4)
    weight = torch.randn_like(out, requires_grad=True)
    (grad,) = torch.autograd.grad(out, x, weight, create_graph=True)
    torch.testing.assert_close(grad.detach() * x.detach(), (out * weight).detach())
    (second,) = torch.autograd.grad(grad.sum(), weight)
    torch.testing.assert_close(second * x.detach(), out.detach())


def test_transposed_inputs_meet_the_same_draws_in_both_directions() -> None:
    x = torch.randn(100, 120, requires_grad=True)
    out = dropout(x.T, 0.5)
    out.backward(torch.ones(100, 120).T)
    torch.testing.assert_close(x.grad.T * x.T, out)


def test_the_generator_of_torch_decides() -> None:
    x = torch.randn(10_000)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(dropout(x, 0.5))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_module_does_nothing_in_evaluation() -> None:
    x = torch.randn(10_000)
    module = Dropout(0.5)
    assert not torch.equal(module(x), x)
    assert module.eval()(x) is x
    assert Dropout(0.0)(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match=f"{rate}"):
        dropout(torch.zeros(3), rate)


def test_the_operator_keeps_its_promises() -> None:
    x = torch.randn(3, 50, requires_grad=True)
    torch.library.opcheck(seeded_dropout, (x, torch.tensor(5), 0.3))


def test_a_mapped_batch_drops_by_its_seeds() -> None:
    x = torch.randn(3, 50)
    seeds = torch.tensor([4, 5, 6])
    out = torch.vmap(seeded_dropout, (0, 0, None))(x, seeds, 0.3)
    for item, seed, result in zip(x, seeds, out, strict=True):
        torch.testing.assert_close(result, seeded_dropout(item, seed, 0.3))


def test_compiled_graphs_use_what_the_compiler_knows() -> None:
    torch._dynamo.reset()
    x = torch.ones(100_000)
    run = torch.compile(lambda x: dropout(x, 0.25), fullgraph=True, backend="aot_eager")
    kept = run(x)
    assert abs((kept != 0).float().mean() - 0.75) < 0.01
    assert kept.max() == 1 / 0.75


@compiled
def test_selective_checkpoints_see_one_operator() -> None:
    seen: list[object] = []

    def policy(ctx: object, op: object, *args: object, **kwargs: object) -> CheckpointPolicy:
        seen.append(op)
        keep = op is torch.ops.headway.dropout.default
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    def run(x: Tensor) -> Tensor:
        return dropout(x.sin(), 0.5).cos()

    x = torch.randn(10_000, requires_grad=True)
    torch.manual_seed(0)
    out = checkpoint(
        run,
        x,
        use_reentrant=False,
        context_fn=lambda: create_selective_checkpoint_contexts(policy),
    )
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.ops.headway.dropout.default in seen
    torch.manual_seed(0)
    (wanted,) = torch.autograd.grad(run(x).sum(), x)
    torch.testing.assert_close(grad, wanted)


def test_other_types_and_small_tensors_take_the_way_of_torch() -> None:
    for x in (torch.ones(20), torch.ones(10_000, dtype=torch.float64)):
        torch.manual_seed(3)
        found = dropout(x, 0.5)
        torch.manual_seed(3)
        assert torch.equal(found, F.dropout(x, 0.5))
