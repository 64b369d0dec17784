"""One table of names and forms, read in both directions."""

import pytest
import torch
from torch import nn

from headway.core.errors import UserError
from headway.core.linear import FusedLinear
from headway.core.weights.table import (
    TRANSPOSED,
    Table,
    combine,
    drop,
    join,
    own,
    pointwise,
    rename,
    under,
)
from headway.core.weights.templates import fill, match


@pytest.mark.parametrize(
    ("template", "name", "fields"),
    [
        ("a.{n}.*", "a.12.weight", {"n": 12, "*": "weight"}),
        ("a.{n+1}.b.{2m+1}", "a.3.b.5", {"n": 2, "m": 2}),
        ("a.{n+1}", "a.0", None),
        ("a.{2n}", "a.5", None),
        ("a.{n}.{n}", "a.1.2", None),
        ("a.b", "axb", None),
        ("*.end", "front.of.end", {"*": "front.of"}),
    ],
)
def test_a_template_reads_a_name_and_writes_it(template: str, name: str, fields) -> None:
    assert match(template, name) == fields
    if fields is not None:
        assert fill(template, fields) == name


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = FusedLinear(4, {"q": 4, "k": 2, "v": 2})
        self.steps = nn.ModuleList(nn.Linear(4, 3) for _ in range(2))
        self.register_buffer("mean", torch.ones(2))


TABLE = Table(
    join(
        "qkv.*",
        ["base.q.*", "base.k.*", "base.v.*"],
        ["base.q_proj.*", "base.k_proj.*", "base.v_proj.*"],
    ),
    under("steps.{n}.", "base.layer.{n+1}.", rename("*", "conv.*", form=pointwise(1))),
    drop("*.counter"),
    own("mean"),
    prefix="base.",
)


def theirs(names: tuple[str, str, str], prefix: str) -> dict[str, torch.Tensor]:
    sizes = dict(zip(names, (4, 2, 2), strict=True))
    state = {f"{prefix}{name}.weight": torch.randn(size, 4) for name, size in sizes.items()}
    state |= {f"{prefix}{name}.bias": torch.randn(size) for name, size in sizes.items()}
    for layer in (1, 2):
        state[f"{prefix}layer.{layer}.conv.weight"] = torch.randn(3, 4, 1)
        state[f"{prefix}layer.{layer}.conv.bias"] = torch.randn(3)
    return state


@pytest.mark.parametrize("prefix", ["base.", ""])
@pytest.mark.parametrize("names", [("q", "k", "v"), ("q_proj", "k_proj", "v_proj")])
def test_both_generations_return_bit_for_bit_and_sections_are_cut_where_they_lie(
    names: tuple[str, str, str], prefix: str
) -> None:
    state, model = theirs(names, prefix), Model()
    ours = TABLE.to_ours({**state, "x.counter": torch.ones(1)}, model)
    model.load_state_dict(ours)
    torch.testing.assert_close(model.qkv.weight[4:6], state[f"{prefix}{names[1]}.weight"])
    back = TABLE.to_theirs(model.state_dict(), model, names=state)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())
    assert TABLE.theirs("steps.1.bias") == ("base.layer.2.conv.bias",)
    assert TABLE.find("qkv.bias", state) == tuple(f"{prefix}{name}.bias" for name in names)
    assert TABLE.dropped(["x.counter", "base.q.bias"]) == ["x.counter"]


def test_what_no_rule_knows_keeps_its_name_and_cannot_be_written() -> None:
    state = {"base.q.weight": torch.randn(4, 4), "strange": torch.ones(1)}
    # Two of three sections are missing.
    assert TABLE.to_ours(state).keys() == state.keys()
    with pytest.raises(UserError, match="strange has no place"):
        TABLE.to_theirs({"strange": torch.ones(1)})
    with pytest.raises(KeyError):
        TABLE.theirs("strange")


def test_sums_ties_and_transposed_layers() -> None:
    table = Table(
        combine(
            ["bias"], ["b", "table"],
            read=lambda bias, table: bias + table[0],
            write=lambda bias: (bias, torch.zeros(2, 3)),
        ),
        rename("bias", "b"),
        rename("linear.*", "c_fc.*", form=TRANSPOSED),
        rename("embedding", "wte"),
        rename("head", "lm_head"),
        tied={"head": "embedding"},
    )  # fmt: skip
    state = {"b": torch.ones(3), "wte": torch.randn(4, 2), "c_fc.weight": torch.randn(2, 5)}
    ours = table.to_ours(state)
    assert ours["head"] is ours["embedding"]
    assert ours["linear.weight"].shape == (5, 2)
    back = table.to_theirs(ours, names=state)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())
    summed = table.to_ours({"b": torch.ones(3), "table": torch.ones(2, 3)})
    assert torch.equal(summed["bias"], torch.full((3,), 2.0))
    assert table.to_theirs(summed)["table"].shape == (2, 3)
    untied = table.to_theirs(
        {"embedding": torch.ones(1), "head": torch.ones(1)}, names=("lm_head",)
    )
    assert untied.keys() == {"wte", "lm_head"}
