"""Informers as their authors and Time-Series-Library saved them, against their equations.

Both call ``torch.randint`` in evaluation; with a factor so large that every query is chosen, ProbSparse
attention is dense attention and what is computed is fixed.
"""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.mixers import CrossAttention, ProbSparseAttention, ProbSparseCrossAttention
from headway.core.weights import from_pretrained
from headway.timeseries.models import Informer, Transformer

LENGTH, START, HORIZON, SERIES, MARKS, DIM, HEADS, HIDDEN = 20, 10, 6, 3, 4, 16, 2, 24
SIZES = f"sl{LENGTH}_ll{START}_pl{HORIZON}_dm{DIM}_nh{HEADS}_el3_dl2_df{HIDDEN}"
AUTHORS = f"informer_ETTh1_ftM_{SIZES}_atprob_fc100_ebtimeF_dtTrue_mxTrue_test_0"
LIBRARY = f"long_term_forecast_x_Informer_ETTh1_ftM_{SIZES}_fc100_ebtimeF_dtTrue_Exp_0"
PLAIN = f"long_term_forecast_x_Transformer_ETTh1_ftM_{SIZES}_fc100_ebtimeF_dtTrue_Exp_0"


def linear(
    name: str, rows: int, columns: int, *kernel: int, bias: bool = True
) -> dict[str, Tensor]:
    tensors = {f"{name}.weight": torch.randn(rows, columns, *kernel) / math.sqrt(columns)}
    return tensors | ({f"{name}.bias": 0.1 * torch.randn(rows)} if bias else {})


def weights(authors: bool, distils: bool = True) -> dict[str, Tensor]:
    """Random tensors under the published names."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}

    def norm(name: str) -> dict[str, Tensor]:
        return {
            f"{name}.weight": 1 + 0.1 * torch.randn(DIM),
            f"{name}.bias": 0.1 * torch.randn(DIM),
        }

    for side in ("enc", "dec"):
        stem = f"{side}_embedding"
        state |= linear(f"{stem}.value_embedding.tokenConv", DIM, SERIES, 3, bias=authors)
        state |= linear(f"{stem}.temporal_embedding.embed", DIM, MARKS, bias=authors)
        state[f"{stem}.position_embedding.pe"] = torch.zeros(1, 5000, DIM)
    layers = [(f"encoder.attn_layers.{n}", ("attention",)) for n in range(3)]
    layers += [(f"decoder.layers.{n}", ("self_attention", "cross_attention")) for n in range(2)]
    for layer, attentions in layers:
        for attention in attentions:
            for part in ("query", "key", "value", "out"):
                state |= linear(f"{layer}.{attention}.{part}_projection", DIM, DIM)
        state |= linear(f"{layer}.conv1", HIDDEN, DIM, 1) | linear(f"{layer}.conv2", DIM, HIDDEN, 1)
        for place in range(len(attentions) + 1):
            state |= norm(f"{layer}.norm{place + 1}")
    for place in range(2 if distils else 0):
        state |= linear(f"encoder.conv_layers.{place}.downConv", DIM, DIM, 3)
        state |= norm(stem := f"encoder.conv_layers.{place}.norm")
        state |= {f"{stem}.running_mean": torch.zeros(DIM), f"{stem}.running_var": torch.ones(DIM)}
        state[f"{stem}.num_batches_tracked"] = torch.tensor(1)
    state |= norm("encoder.norm") | norm("decoder.norm")
    return state | linear("projection" if authors else "decoder.projection", SERIES, DIM)


class Published:
    """The forward pass of both, written from their equations."""

    def __init__(self, state: dict[str, Tensor], *, padding: int, mixes: set[str]) -> None:
        self.state, self.padding, self.mixes = state, padding, mixes

    def linear(self, name: str, x: Tensor) -> Tensor:
        weight = self.state[f"{name}.weight"]
        weight = weight.squeeze(-1) if weight.ndim == 3 else weight
        return F.linear(x, weight, self.state.get(f"{name}.bias"))

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (DIM,), self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def circular(self, name: str, x: Tensor, padding: int) -> Tensor:
        wrapped = F.pad(x.transpose(1, 2), (padding, padding), mode="circular")
        return F.conv1d(wrapped, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))

    def embed(self, side: str, x: Tensor, marks: Tensor) -> Tensor:
        tokens = self.circular(f"{side}.value_embedding.tokenConv", x, 1).transpose(1, 2)
        places = torch.arange(x.shape[1])[:, None]
        angles = places * torch.exp(torch.arange(0, DIM, 2) * -(math.log(10000.0) / DIM))
        position = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        return tokens + position + self.linear(f"{side}.temporal_embedding.embed", marks)

    def attention(self, name: str, x: Tensor, memory: Tensor, *, causal: bool = False) -> Tensor:
        query, key, value = (
            self.linear(f"{name}.{part}_projection", tokens)
            .unflatten(2, (HEADS, -1))
            .transpose(1, 2)
            for part, tokens in (("query", x), ("key", memory), ("value", memory))
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(DIM // HEADS)
        if causal:
            hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, -torch.inf)
        out = scores.softmax(dim=-1) @ value
        kind = name.rpartition(".")[2]
        out = out if kind in self.mixes else out.transpose(1, 2)
        return self.linear(f"{name}.out_projection", out.reshape(x.shape))

    def feed(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.conv2", F.gelu(self.linear(f"{name}.conv1", x)))

    def distil(self, name: str, x: Tensor) -> Tensor:
        hidden, stem = self.circular(f"{name}.downConv", x, self.padding), f"{name}.norm"
        parts = [self.state[f"{stem}.{kind}"] for kind in ("weight", "bias")]
        hidden = hidden / math.sqrt(1 + 1e-5) * parts[0][:, None] + parts[1][:, None]
        return F.max_pool1d(F.elu(hidden), 3, 2, 1).transpose(1, 2)

    def __call__(self, x: Tensor, marks: Tensor, future: Tensor) -> Tensor:
        memory = self.embed("enc_embedding", x, marks)
        for place in range(3):
            name = f"encoder.attn_layers.{place}"
            memory = self.norm(
                f"{name}.norm1", memory + self.attention(f"{name}.attention", memory, memory)
            )
            memory = self.norm(f"{name}.norm2", memory + self.feed(name, memory))
            if f"encoder.conv_layers.{place}.norm.weight" in self.state:
                memory = self.distil(f"encoder.conv_layers.{place}", memory)
        memory = self.norm("encoder.norm", memory)
        asked = F.pad(x[:, -START:], (0, 0, 0, HORIZON))
        tokens = self.embed("dec_embedding", asked, torch.cat([marks[:, -START:], future], dim=1))
        for place in range(2):
            name = f"decoder.layers.{place}"
            own = self.attention(f"{name}.self_attention", tokens, tokens, causal=True)
            tokens = self.norm(f"{name}.norm1", tokens + own)
            read = self.attention(f"{name}.cross_attention", tokens, memory)
            tokens = self.norm(f"{name}.norm2", tokens + read)
            tokens = self.norm(f"{name}.norm3", tokens + self.feed(name, tokens))
        head = "projection" if "projection.weight" in self.state else "decoder.projection"
        return self.linear(head, self.norm("decoder.norm", tokens))[:, -HORIZON:]


def saved(folder: Path, name: str, state: dict[str, Tensor]) -> Path:
    path = folder / name / "checkpoint.pth"
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    return path


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(2, LENGTH, SERIES), torch.randn(2, LENGTH, 4), torch.randn(2, HORIZON, 4)


ALL = {"attention", "self_attention", "cross_attention"}


@pytest.mark.parametrize(
    ("name", "padding", "mixes", "cross"),
    [
        (AUTHORS, 1, {"self_attention"}, CrossAttention),
        (AUTHORS.replace("mxTrue", "mxFalse"), 1, set(), CrossAttention),
        (LIBRARY, 2, ALL, ProbSparseCrossAttention),
    ],
    ids=["informer2020", "informer2020 without mix", "tslib"],
)
def test_forecasts_equal_those_of_the_equations(
    name: str, padding: int, mixes: set[str], cross: type, tmp_path: Path
) -> None:
    state = weights(authors=name.startswith("informer"))
    ours = from_pretrained(saved(tmp_path, name, state)).eval()
    assert isinstance(ours, Informer)
    assert ours.load_report.unexpected == ours.load_report.missing == ()
    assert isinstance(ours.decoder.blocks[0].cross.function, cross)
    x, marks, future = inputs()
    expected = Published(state, padding=padding, mixes=mixes)(x, marks, future)
    torch.testing.assert_close(
        ours(x, marks=marks, future_marks=future), expected, atol=1e-5, rtol=1e-5
    )
    # Each of the differences shows: another padding, or heads mixed elsewhere, is another answer.
    others = [(3 - padding, mixes), (padding, ALL - mixes)]
    for other_padding, other_mixes in others:
        other = Published(state, padding=other_padding, mixes=other_mixes)(x, marks, future)
        assert (other - expected).abs().max() > 1e-3


def test_a_transformer_of_the_library_is_causal_in_its_decoder(tmp_path: Path) -> None:
    state = weights(authors=False, distils=False)
    ours = from_pretrained(saved(tmp_path, PLAIN, state)).eval()
    assert isinstance(ours, Transformer)
    x, marks, future = inputs()
    expected = Published(state, padding=1, mixes=set())(x, marks, future)
    torch.testing.assert_close(
        ours(x, marks=marks, future_marks=future), expected, atol=1e-5, rtol=1e-5
    )


def test_the_factor_is_that_of_the_folder(tmp_path: Path) -> None:
    name = AUTHORS.replace("fc100", "fc3")
    ours = from_pretrained(saved(tmp_path, name, weights(authors=True)))
    sparse = [module for module in ours.modules() if isinstance(module, ProbSparseAttention)]
    assert [module.factor for module in sparse] == [3] * 5


def test_what_is_not_read_is_refused(tmp_path: Path) -> None:
    state = weights(authors=True)
    with pytest.raises(UserError, match="does not say how many heads"):
        from_pretrained(saved(tmp_path, "renamed", state))
    with pytest.raises(UserError, match=r"leave checkpoint.pth in the folder"):
        from_pretrained(tmp_path / "renamed" / "checkpoint.pth", heads=2)
    state["enc_embedding.temporal_embedding.hour_embed.emb.weight"] = torch.zeros(24, DIM)
    with pytest.raises(UserError, match="moments by tables"):
        from_pretrained(saved(tmp_path, AUTHORS, state))
    mixing = AUTHORS.replace("atprob", "atfull")
    with pytest.raises(UserError, match="dense attention that mixes heads"):
        from_pretrained(saved(tmp_path, mixing, weights(authors=True)))
