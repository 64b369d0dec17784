"""Every model of the domain, copied, moved, saved and exported with a free batch and free time."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headway.core.blocks import MacaronBlock
from headway.core.mixers import GatedConvolutionMixer
from headway.core.testing.models import Case, check_copies, check_graph
from headway.speech import models
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import CTC, Conformer


def conformer() -> Conformer:
    return Conformer(
        dim=16,
        depth=1,
        heads=2,
        stem=partial(ConvolutionSubsampling, features=10, channels=3),
        block=partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=3)),
    )


def features(batch: int, frames: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(frames)
    lengths = frames - 4 * torch.arange(batch)
    return torch.randn(batch, frames, 10, generator=generator), lengths


# Two tokens at least: an axis of one is another graph.
SOUND = {"inputs": features, "sizes": (37, 21, 64), "least": 5}
CASES = {
    "Conformer": Case(make=conformer, **SOUND),
    "CTC": Case(make=lambda: CTC(encoder=conformer(), vocab_size=6, blank=2), **SOUND),
}


# What other cases hold is tried by itself in `make test-all`.
PARTS, SLOW = ("Conformer",), [pytest.mark.slow]


def test_every_model_has_a_case() -> None:
    assert CASES.keys() >= set(models.list_models())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name in PARTS else []) for name in CASES]
)
def test_copies_of_a_model_answer_as_it_does(name: str, tmp_path: Path) -> None:
    check_copies(CASES[name], tmp_path)


def test_a_recogniser_exports_with_a_free_batch_and_free_time(tmp_path: Path) -> None:
    check_graph(CASES["CTC"], tmp_path / "model.pt2")
