"""What cannot be done is refused by name, with the remedy; nothing is silently ignored."""

import subprocess
import sys

import pytest
import torch

from headway.core.errors import UserError
from headway.core.ops import (
    BackendError,
    attention,
    attention_with_lse,
    explain_dispatch,
)

QUERY = torch.zeros(2, 4, 3, 8)
KEY = torch.zeros(2, 2, 5, 8)

WRONG = {
    "three-dimensions": ({"query": QUERY[0]}, "query has shape .* use .batch, heads"),
    "other-dtype": ({"key": KEY.double()}, "key is torch.float64 .* cast"),
    "integers": (
        {"query": QUERY.int(), "key": KEY.int(), "value": KEY.int()},
        "needs a floating-point",
    ),
    "other-device": ({"key": KEY.to("meta")}, "key is on meta .* move it"),
    "heads": (
        {"key": torch.zeros(2, 3, 5, 8), "value": torch.zeros(2, 3, 5, 8)},
        "3 key heads do not divide 4 query heads; use a divisor",
    ),
    "batch": ({"query": QUERY[:1]}, "batch 1 and key 2"),
    "width": ({"query": QUERY[..., :7]}, "width 7 and key 8"),
    "value-tokens": ({"value": KEY[:, :, :4]}, "only widths may differ"),
    "bias-shape": ({"bias": torch.zeros(3, 5, 3)}, r"bias \(3, 5, 3\) does not broadcast"),
    "bias-bool": ({"bias": torch.ones(3, 5).bool()}, "boolean one as mask="),
    "mask-shape": ({"mask": torch.ones(4, 5).bool()}, "mask .* does not broadcast"),
    "mask-float": ({"mask": torch.ones(3, 5)}, "pass scores as bias="),
    "mask-device": ({"mask": torch.ones(3, 5, device="meta").bool()}, "mask is on meta"),
    "lengths-shape": ({"lengths": torch.tensor([1])}, "lengths has shape .* one per item"),
    "lengths-float": ({"lengths": torch.tensor([1.0, 2.0])}, "use an integer"),
    "lengths-high": ({"lengths": torch.tensor([1, 6])}, r"lengths holds 6; .* 0\.\.5"),
    "lengths-low": ({"lengths": torch.tensor([-1, 5])}, "lengths holds -1"),
    "causal": ({"causal": "left"}, "causal is 'left'; use"),
    "window": ({"window": (-1, 2)}, "0 or more"),
    "scale": ({"scale": torch.ones(3)}, "one per head"),
    "alibi": ({"alibi_slopes": torch.ones(3)}, "alibi_slopes .* one per head"),
    "sinks": ({"sinks": torch.ones(3)}, "sinks .* one per head"),
    "table-alone": ({"table": torch.ones(9, 4)}, "table and index belong together"),
    "table-heads": (
        {"table": torch.ones(4, 9), "index": torch.zeros(3, 5).long()},
        "table has shape",
    ),
    "index-shape": (
        {"table": torch.ones(9, 4), "index": torch.zeros(5, 3).long()},
        "index has shape",
    ),
    "softcap": ({"softcap": 0.0}, "must be positive"),
    "dropout": ({"dropout": 1.0}, r"must lie in \[0, 1\)"),
    "max-length": ({"max_length": 0}, "at least 1"),
    "offsets-batch": ({"offsets": torch.tensor([0, 3])}, "with offsets it must be 1"),
    "offsets-lengths": (
        {"offsets": torch.tensor([0, 3]), "lengths": torch.tensor([1, 1])},
        "both given",
    ),
    "key-offsets-alone": ({"key_offsets": torch.tensor([0, 3])}, "without offsets"),
    "backend": ({"backend": "flash"}, "backend is 'flash'; use 'auto' or one of"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("function", [attention, attention_with_lse, explain_dispatch])
def test_wrong_arguments_are_named_with_limit_and_remedy(
    function: object, changes: dict[str, object], message: str
) -> None:
    arguments = {"query": QUERY, "key": KEY, "value": KEY} | changes
    with pytest.raises(UserError, match=message):
        function(**arguments)  # pyright: ignore


@pytest.mark.parametrize(
    ("offsets", "message"),
    [([0, 2, 7], "at most the 3"), ([1, 3], "rise from 0"), ([0, 2, 1], "rise from 0")],
)
def test_offsets_that_do_not_rise_to_the_total_are_refused(
    offsets: list[int], message: str
) -> None:
    tokens = torch.zeros(1, 4, 3, 8)
    with pytest.raises(UserError, match=message):
        attention(tokens, tokens, tokens, offsets=torch.tensor(offsets))


LACKING = {
    "sdpa": {
        "softcap": {"softcap": 1.0},
        "sinks": {"sinks": torch.zeros(4)},
        "dropout": {"dropout": 0.5, "seed": 1},
    },
    "native": {
        "softcap": {"softcap": 1.0},
        "torch.float16": {"query": QUERY.half(), "key": KEY.half(), "value": KEY.half()},
        "meta": {
            name: torch.zeros(2, 2, 3, 8, device="meta") for name in ("query", "key", "value")
        },
    },
    "triton": {
        "torch.float64": {"query": QUERY.double(), "key": KEY.double(), "value": KEY.double()},
        "head width 8": {},
        "head width 257": {name: torch.zeros(2, 2, 3, 257) for name in ("query", "key", "value")},
        "value width 8": {"query": torch.zeros(2, 4, 3, 32), "key": torch.zeros(2, 2, 5, 32)},
        "bias of torch.float64": {
            **{name: torch.zeros(2, 2, 3, 16) for name in ("query", "key", "value")},
            "bias": torch.zeros(3, 3).double(),
        },
        "scale of torch.float64": {
            **{name: torch.zeros(2, 2, 3, 16) for name in ("query", "key", "value")},
            "scale": torch.zeros(2).double(),
        },
    },
}


@pytest.mark.parametrize(
    ("backend", "name", "options"),
    [(b, n, o) for b, cases in LACKING.items() for n, o in cases.items()],
)
def test_what_a_backend_lacks_is_refused_by_name_with_a_remedy(
    backend: str, name: str, options: dict[str, object]
) -> None:
    arguments = {"query": QUERY, "key": KEY, "value": KEY} | options
    with pytest.raises(BackendError, match=f"{name}.*(;|with)") as caught:
        attention(**arguments, backend=backend)  # pyright: ignore
    assert "use" in str(caught.value) or "cast" in str(caught.value)


def test_triton_without_a_gpu_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tokens = torch.zeros(1, 4, 3, 16)
    with pytest.raises(BackendError, match=r"(CUDA device, got cpu|not installed).*backend='auto'"):
        attention(tokens, tokens, tokens, backend="triton")


def test_explain_names_the_choice_and_every_refusal() -> None:
    plain = explain_dispatch(QUERY, KEY, KEY)
    assert plain.backend == "sdpa"
    capped = explain_dispatch(QUERY, KEY, KEY, softcap=2.0)
    assert capped.backend == "reference"
    assert dict(capped.refusals)["sdpa"] == "sdpa has no softcap; use backend='reference'"
    assert "head width 8 is not in 16..256" in dict(capped.refusals)["triton"]
    lines = str(capped).splitlines()
    assert lines[0] == "attention runs on 'reference'"
    assert "softcap" in dict(capped.refusals)["native"]
    assert len(lines) == 4
    assert explain_dispatch(QUERY, KEY, KEY, lse=True).backend == "reference"
    named = explain_dispatch(QUERY, KEY, KEY, backend="reference")
    assert named.backend == "reference"


def test_options_that_sdpa_lacks_run_on_the_reference_by_themselves() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 4, 3, 8), torch.randn(2, 2, 5, 8)
    capped = attention(query, key, key, softcap=0.5)
    assert not torch.allclose(capped, attention(query, key, key))
    torch.testing.assert_close(capped, attention(query, key, key, softcap=0.5, backend="reference"))


def test_attention_runs_where_triton_is_not_installed() -> None:
    code = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == "triton" or name.startswith("triton."):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import torch
from headway.core.ops import attention, explain_dispatch, BackendError
x = torch.randn(1, 2, 4, 16, requires_grad=True)
attention(x, x, x, bias=torch.zeros(4, 4, requires_grad=True)).sum().backward()
assert not any(name.partition(".")[0] == "triton" and module for name, module in sys.modules.items())
print(explain_dispatch(x, x, x))
try:
    attention(x, x, x, backend="triton")
except BackendError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "pip install triton" in run.stdout.splitlines()[-1]
