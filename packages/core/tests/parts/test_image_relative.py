"""Vectors of relative places: the paper's equations, pair by pair, and what only they can learn."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import ImageRelativeVectors, RelativeBias


def group(distance: float, ratio: float) -> int:
    """Equation 18, as the authors' code rounds it."""
    alpha, beta, gamma = ratio, 2 * ratio, 8 * ratio
    if abs(distance) <= alpha:
        return round(distance)
    grown = alpha + math.log(abs(distance) / alpha) / math.log(gamma / alpha) * (beta - alpha)
    return int(math.copysign(min(round(grown), beta), distance))


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "of heads"])
@pytest.mark.parametrize("method", ["product", "cross", "euclidean"])
def test_each_pair_reads_the_vector_of_its_group(method, shared: bool) -> None:
    grid, ratio = (3, 9), 1.9
    position = ImageRelativeVectors(2, 4, method=method, ratio=ratio, shared=shared)
    nn.init.normal_(position.table)
    layout = Layout(grid=grid, prefix=1)
    places = layout.token_positions(28, torch.device("cpu"))
    query = torch.randn(1, 2, 28, 4)
    found = position.bias_spec(query, places, places, prefix=1)["bias"][0].detach()
    cells = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    table = position.table.detach().expand(2, -1, -1)
    side, reach = position.side, position.reach
    assert (side, reach) == (7, 3)
    for head in range(2):
        vectors = table[head].T
        for t, first in enumerate(cells):
            for s, second in enumerate(cells):
                row, column = (a - b for a, b in zip(first, second, strict=True))
                if method == "euclidean":
                    rows = [group(round(math.hypot(row, column)), ratio) + reach]
                else:
                    one, two = (group(step, ratio) + reach for step in (row, column))
                    rows = [one * side + two] if method == "product" else [one, two + side]
                expected = sum(query[0, head, 1 + t] @ vectors[place] for place in rows) / 2
                assert found[head, 1 + t, 1 + s] == pytest.approx(float(expected), abs=1e-5)
        special = vectors[position.rows :].sum(0)
        in_front = (query[0, head] @ special / 2).numpy()
        np.testing.assert_allclose(found[head, :, 0], in_front, atol=1e-5)
        np.testing.assert_allclose(found[head, 0], in_front[:1].repeat(28), atol=1e-5)


def test_it_begins_as_if_it_were_not_there() -> None:
    torch.manual_seed(0)
    mixer = SelfAttention(8, 2, position=ImageRelativeVectors)
    plain = SelfAttention(8, 2)
    plain.load_state_dict({k: v for k, v in mixer.state_dict().items() if "position" not in k})
    x, layout = torch.randn(2, 12, 8), Layout(grid=(3, 4))
    torch.testing.assert_close(mixer(x, layout), plain(x, layout))


def test_what_cannot_be_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="ratio 0.5 must be at least 1"):
        ImageRelativeVectors(2, 4, ratio=0.5)
    with pytest.raises(UserError, match="'product', 'cross' or 'euclidean'"):
        ImageRelativeVectors(2, 4, method="quant")  # pyright: ignore
    with pytest.raises(UserError, match="use RelativeVectors for sequences"):
        SelfAttention(8, 2, position=ImageRelativeVectors)(torch.randn(1, 4, 8), Layout())


def pointers(batch: int) -> tuple[Tensor, Tensor]:
    """Cells that point left or right, and a number each: what is wanted is that of the cell pointed at."""
    side = 5
    numbers, right = torch.randn(batch, side, side), torch.rand(batch, side, side) < 0.5
    wanted = torch.where(right, numbers.roll(-1, 2), numbers.roll(1, 2))
    inner = torch.zeros(side, side, dtype=torch.bool)
    inner[:, 1:-1] = True
    sign = right.float() * 2 - 1
    return torch.stack([numbers, sign], -1).flatten(1, 2), torch.where(
        inner, wanted, torch.nan
    ).flatten(1)


@pytest.mark.learns
def test_whoever_asks_decides_where_to_look(seed: int, measured) -> None:
    """A bias of the place alone looks the same way for everybody: half of the variance is left."""
    left = {}
    for name, position in (
        ("vectors", ImageRelativeVectors),
        ("bias", partial(RelativeBias, grid=(5, 5))),
    ):
        torch.manual_seed(seed)
        enter, leave = nn.Linear(2, 16), nn.Linear(16, 1)
        mixer = SelfAttention(16, 1, position=position)
        model = nn.ModuleList([enter, mixer, leave])
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        loss = torch.tensor(0.0)
        for _ in range(250):
            given, wanted = pointers(32)
            answer = leave(mixer(enter(given), Layout(grid=(5, 5))))[..., 0]
            loss = (answer - wanted)[~wanted.isnan()].square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        left[name] = loss.item()
    measured("vectors", left["vectors"], below=0.25)
    measured("bias", left["bias"], above=0.35)
