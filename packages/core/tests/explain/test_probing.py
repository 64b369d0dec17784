"""Linear probes of the residual stream."""

import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.explain import linear_probes, residual_stream
from headway.core.mixers import SelfAttention
from headway.core.module import Module
from headway.core.stacks import Encoder

DIM, BITS = 16, 3


class Passing(SelfAttention):
    """Adds the mean of all tokens: what one token holds, all hold behind the first block."""

    def mix(self, x: Tensor, *arguments, **options) -> Tensor:
        return x.mean(dim=1, keepdim=True).expand_as(x)


class Model(Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(DIM, 2, 2, mixer=Passing)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)[0]


def items(number: int) -> tuple[Tensor, Tensor]:
    """Tokens of noise; the first one holds three bits along three of its channels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(number, 4, DIM, generator=generator)
    bits = torch.rand(number, BITS, generator=generator) < 0.5
    x[:, 0, :BITS] = 4.0 * bits.float() - 2.0
    return x, bits


def probes(x: Tensor, bits: Tensor, **options):
    torch.manual_seed(0)
    return linear_probes(Model(), [(x[:100],), (x[100:],)], bits, **options)


def test_they_read_what_lies_in_a_token_and_what_has_been_brought_to_it() -> None:
    x, bits = items(400)
    there = probes(x, bits, token=0)
    assert [one.layer for one in there] == ["input", "encoder.blocks.0", "encoder.blocks.1"]
    assert there[0].accuracy == 1.0
    assert torch.equal(there[0].answers, bits[300:])
    elsewhere = probes(x, bits, token=torch.full((400,), 2))
    # Another token holds noise in the beginning, and the bits behind the block that brings them.
    assert elsewhere[0].accuracy < elsewhere[0].chance + 0.1
    assert elsewhere[2].accuracy > elsewhere[2].chance + 0.2


def test_what_is_no_line_is_not_read() -> None:
    x, bits = items(400)
    parity = bits[:, :1] ^ bits[:, 1:2]
    [first, *_] = probes(x, parity, token=0)
    assert first.accuracy < first.chance + 0.1


def test_chance_is_the_commoner_answer() -> None:
    x, bits = items(200)
    rare = torch.zeros_like(bits)
    rare[::10] = True
    [first, *_] = probes(x, rare, token=1, decay=10.0)
    assert first.chance == pytest.approx(0.9)
    assert first.accuracy == pytest.approx(0.9)
    assert first.held_out.tolist() == list(range(150, 200))


def test_a_token_of_the_stream() -> None:
    x, _ = items(5)
    torch.manual_seed(0)
    model = Model()
    found = residual_stream(model, x, token=-1)
    assert torch.equal(found["input"], x[:, -1])
    places = torch.tensor([0, 1, 2, 3, -1])
    each = residual_stream(model, x, token=places)
    assert torch.equal(each["input"], x[torch.arange(5), places])


def test_wrong_use_is_one_line() -> None:
    x, bits = items(200)
    with pytest.raises(UserError, match="input has 4 tokens; got token 4"):
        probes(x, bits, token=4)
    with pytest.raises(UserError, match="200 items and questions of shape"):
        probes(x, bits[:50])
    with pytest.raises(UserError, match="leaves 200 to fit and 0 to ask"):
        probes(x, bits, held_out=0.0)
    with pytest.raises(UserError, match="Linear has no stack of blocks"):
        residual_stream(torch.nn.Linear(DIM, 2), x)
