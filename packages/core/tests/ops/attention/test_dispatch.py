"""Which backend takes a call on a GPU, judged with tensors that only claim to be there."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from headway.core.ops import BackendError, explain_dispatch

pytest.importorskip("triton")


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    with FakeTensorMode():
        yield


def tensors(queries: int = 8, keys: int = 8, width: int = 64, grad: bool = True) -> list[Tensor]:
    def some(heads: int, tokens: int) -> Tensor:
        return torch.empty(
            2, heads, tokens, width, device="cuda", dtype=torch.bfloat16, requires_grad=grad
        )

    return [some(4, queries), some(2, keys), some(2, keys)]


def empty(*shape: int, dtype: torch.dtype = torch.float32, grad: bool = False) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="cuda", requires_grad=grad)


# What PyTorch's kernels take as it is.
NATIVE = {
    "plain": lambda: {},
    "scale": lambda: {"scale": 0.3},
    "causal": lambda: {"causal": True},
    "top-left": lambda: {"causal": "top-left"},
    "dropout": lambda: {"dropout": 0.1},
    "bias": lambda: {"bias": empty(4, 8, 8, dtype=torch.bfloat16)},
}
# What they would need a tensor of the size of the scores for, or cannot do.
OWN = {
    "bias-gradient": lambda: {"bias": empty(4, 8, 8, grad=True)},
    "bias-causal": lambda: {"bias": empty(4, 8, 8), "causal": True},
    "mask": lambda: {"mask": empty(2, 1, 1, 8, dtype=torch.bool)},
    "lengths": lambda: {"lengths": empty(2, dtype=torch.int64)},
    "window": lambda: {"window": (4, 0)},
    "alibi": lambda: {"alibi_slopes": empty(4)},
    "table": lambda: {"table": empty(9, 4), "index": empty(8, 8, dtype=torch.int64)},
    "softcap": lambda: {"softcap": 30.0},
    "distances": lambda: {
        "relative_query": empty(2, 4, 8, 64, dtype=torch.bfloat16),
        "distance_key": empty(4, 15, 64, dtype=torch.bfloat16),
    },
    "sinks": lambda: {"sinks": empty(4)},
    "scale-per-head": lambda: {"scale": empty(4)},
    "seeded-dropout": lambda: {"dropout": 0.1, "seed": 3},
    "log-sum-exp": lambda: {"lse": True},
}


@pytest.mark.parametrize("options", NATIVE.values(), ids=NATIVE)
def test_pytorch_keeps_what_its_kernels_do_as_it_is(options: object) -> None:
    assert explain_dispatch(*tensors(), **options()).backend == "sdpa"  # pyright: ignore


@pytest.mark.parametrize("options", OWN.values(), ids=OWN)
def test_our_kernels_take_what_pytorch_would_materialise(options: object) -> None:
    assert explain_dispatch(*tensors(), **options()).backend == "triton"  # pyright: ignore


def test_causal_to_the_last_key_and_packed_items_are_ours() -> None:
    assert explain_dispatch(*tensors(queries=5), causal=True).backend == "triton"
    query, key, value = (x[:1] for x in tensors())
    offsets = empty(3, dtype=torch.int64)
    assert explain_dispatch(query, key, value, offsets=offsets).backend == "triton"


def test_a_gpu_without_tensor_cores_for_triton_stays_with_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
    found = explain_dispatch(*tensors(), window=(4, 0))
    assert found.backend == "sdpa"
    assert "needs compute capability 8.0, got 7.5" in dict(found.refusals)["triton"]
    with pytest.raises(BackendError, match=r"7\.5 .*use backend='auto'"):
        explain_dispatch(*tensors(), window=(4, 0), backend="triton")
