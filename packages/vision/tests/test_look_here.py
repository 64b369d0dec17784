"""Heads that look in directions: what they see, and what a ViT with them does at twice the size."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import LookHere, Rotary
from headway.vision.layers import ImageTokens
from headway.vision.models import ViT


def biases(position: LookHere, grid: tuple[int, int], prefix: int = 0) -> Tensor:
    tokens = prefix + grid[0] * grid[1]
    places = Layout(grid=grid, prefix=prefix).token_positions(tokens, torch.device("cpu"))
    query = torch.zeros(1, position.heads, 1, 8)
    return position.bias_spec(query, places, places, prefix=prefix)["bias"][0]


SEES = {
    "up": lambda row, column: row <= 0,
    "down": lambda row, column: row >= 0,
    "left": lambda row, column: column <= 0,
    "right": lambda row, column: column >= 0,
    "north": lambda row, column: row <= -abs(column),
    "south": lambda row, column: row >= abs(column),
    "west": lambda row, column: column <= -abs(row),
    "east": lambda row, column: column >= abs(row),
}
HEADS = {
    "all": ["", "", "", ""],
    "halves": ["up", "down", "left", "right"],
    "corners": ["up left", "up right", "down left", "down right"],
    "triangles": ["north", "south", "west", "east"],
    "left eighths": ["north left", "south left", "west up", "east up"],
    "right eighths": ["north right", "south right", "west down", "east down"],
}


@pytest.mark.parametrize(
    ("views", "prices"),
    [
        (["halves", "halves", "all"], [1 / 2] * 4 + [1 / 4] * 4 + [1 / 4, 1 / 16, 1 / 64, 1 / 256]),
        (["triangles", "corners"], [1 / 2] * 8),
        (["left eighths", "right eighths", "all"], [1 / 2] * 8 + [4.0**-k for k in range(1, 5)]),
    ],
    ids=str,
)
def test_each_head_sees_its_field_and_pays_for_the_distance(views, prices) -> None:
    grid = (4, 5)
    found = biases(LookHere(len(prices), 8, views=views, slope=1.5), grid)
    cells = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    heads = [head for view in views for head in HEADS[view]]
    for head, price, bias in zip(heads, prices, found, strict=True):
        for query, one in zip(cells, bias, strict=True):
            for key, number in zip(cells, one, strict=True):
                step = key[0] - query[0], key[1] - query[1]
                if all(SEES[word](*step) for word in head.split()):
                    assert number == pytest.approx(-1.5 * price * np.hypot(*step), abs=1e-6)
                else:
                    assert number == float("-inf")


def test_tokens_in_front_see_all_and_are_seen() -> None:
    found = biases(LookHere(6, 8), (3, 3), prefix=2)
    assert not found[:, :2].any()
    assert not found[:, :, :2].any()
    assert found[0, 2:, 2:].isinf().any()
    assert not found[4:].isinf().any()  # the last heads see all


def test_views_that_do_not_fit_are_one_clear_line() -> None:
    with pytest.raises(UserError, match="must name one of all, halves"):
        LookHere(4, 8, views=["behind"])
    with pytest.raises(UserError, match="for each 4 of 12 heads, 3 in all"):
        LookHere(12, 8, views=["halves"])
    with pytest.raises(UserError, match="slope -1"):
        LookHere(4, 8, slope=-1)


@pytest.mark.learns
def test_at_twice_the_size_it_reads_more_than_with_rotations(seed: int, measured) -> None:
    digits = load_digits()
    pictures = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    larger = F.interpolate(pictures[1400:], size=(16, 16), mode="bilinear")
    right = {}
    for name, position in (("look", LookHere), ("rotary", partial(Rotary, axes=2))):
        torch.manual_seed(seed)
        model = ViT(
            image_size=8, num_classes=10, dim=48, depth=2, heads=6,
            embedding=partial(PatchEmbedding, patch=2, channels=1),
            tokens=partial(ImageTokens, position=None),
            mixer=partial(SelfAttention, position=position),
        )  # fmt: skip
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, 150)
        for _ in range(150):
            batch = torch.randint(0, 1400, (64,))
            F.cross_entropy(model(pictures[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        with torch.no_grad():
            answers = model.eval()(larger).argmax(1)
        right[name] = (answers == labels[1400:]).float().mean().item()
    measured("gain", right["look"] - right["rotary"], above=0.1)
