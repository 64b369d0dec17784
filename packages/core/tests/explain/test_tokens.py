"""Relevance of tokens by gradient and input."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.explain import gradient_relevance, token_relevance
from headway.core.feedforward import FeedForward
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.layout import Layout
from headway.core.mixers import PoolingMixer, SelfAttention, WindowAttention
from headway.core.module import Module
from headway.core.reduction import MostSimilar, merge_tokens
from headway.core.stacks import Encoder


class Linear(FeedForward):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return self.linear(x)


class Plain(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class Model(Module):
    def __init__(self, layout: Layout | None = None, **options) -> None:
        super().__init__()
        self.layout = layout if layout is not None else Layout()
        self.encoder = Encoder(8, 2, 2, **options)
        self.head = ClassificationHead(8, 3, pooling=AveragePooling)

    def forward(self, x: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        layout = self.layout.replace(lengths=lengths)
        return self.head(*self.encoder(x, layout))


def model(*arguments, **options) -> Model:
    torch.manual_seed(0)
    net = Model(*arguments, **options).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net


LINEAR = {"mixer": PoolingMixer, "feedforward": Linear, "norm": Plain}


def test_shares_of_a_linear_answer_sum_to_it() -> None:
    net, x = model(**LINEAR), torch.randn(2, 5, 8, dtype=torch.float64)
    nn.init.zeros_(net.head.classifier.bias)
    logits = net(x)
    for target in range(3):
        found = token_relevance(net, x, target=target)
        torch.testing.assert_close(found.sum(1), logits[:, target])
        # Each share is what the answer is with that token alone.
        for place in range(5):
            alone = torch.zeros_like(x)
            alone[:, place] = x[:, place]
            torch.testing.assert_close(found[:, place], net(alone)[:, target])
    torch.testing.assert_close(
        token_relevance(net, x), token_relevance(net, x, target=logits.argmax(1))
    )


def test_a_token_that_speaks_against_the_answer_is_below_zero() -> None:
    net, x = model(**LINEAR), torch.randn(1, 4, 8, dtype=torch.float64)
    x[:, 3] = -x[:, 2]
    found = token_relevance(net, x, target=0)
    assert (found > 0).any()
    assert (found < 0).any()


@pytest.mark.parametrize("explain", [gradient_relevance, token_relevance])
def test_padding_has_no_relevance_and_changes_none(explain) -> None:
    net, x = model(), torch.randn(2, 6, 8, dtype=torch.float64)
    x[1, 4:] = torch.nan
    lengths = torch.tensor([6, 4])
    found = explain(net, x, target=1, keywords={"lengths": lengths})
    alone = explain(net, x[1:, :4], target=1)
    torch.testing.assert_close(found[1, :4], alone[0])
    assert (found[1, 4:] == 0).all()
    assert (found[0] != 0).all()


def test_frozen_models_and_inputs_stay_as_they_are() -> None:
    net, x = model().train(), torch.randn(1, 4, 8, dtype=torch.float64)
    want = token_relevance(net, x, target=0)
    net.requires_grad_(False)
    with torch.no_grad():
        torch.testing.assert_close(token_relevance(net, x, target=0), want)
    assert net.training
    assert not x.requires_grad
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_models_that_attention_does_not_explain() -> None:
    x = torch.randn(2, 16, 8, dtype=torch.float64)
    windows = model(Layout(grid=(4, 4)), mixer=partial(WindowAttention, window=2))
    merged = merge_tokens(model(mixer=SelfAttention), MostSimilar(amount=3))
    for net, said in ((windows, "attends within windows"), (merged, "different numbers of tokens")):
        with pytest.raises(UserError, match=f"{said}.*token_relevance"):
            gradient_relevance(net, x, target=0)
        assert token_relevance(net, x, target=0).shape == (2, 16)


def test_wrong_questions_are_refused() -> None:
    net, x = model(), torch.randn(1, 4, 8, dtype=torch.float64)
    with pytest.raises(UserError, match="there are 3 answers.*got target 5"):
        token_relevance(net, x, target=5)
    with pytest.raises(UserError, match=r"needs answers \(B, K\); say with answer="):
        token_relevance(net, x, answer=lambda logits: logits[0])
    with pytest.raises(UserError, match="Linear has no stack of blocks"):
        token_relevance(nn.Linear(8, 3).double(), x[:, 0])
