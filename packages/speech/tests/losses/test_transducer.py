"""The losses of transducers against torchaudio, a plain reference and the sum over all paths."""

import itertools
import math
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.speech.losses import (
    lattice_score,
    lattice_score_reference,
    transducer_arcs,
    transducer_loss,
    transducer_loss_of_scores,
)

LENGTHS, TARGETS = torch.tensor([7, 5, 3]), torch.tensor([4, 2, 0])


class Joint(nn.Module):
    def __init__(self, channels: int, entries: int) -> None:
        super().__init__()
        self.out = nn.Linear(channels, entries)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        return self.out((encoded + predicted).tanh())


def all_paths(scores: Tensor, target: list[int], durations: tuple[int, ...]) -> float:
    """The probability of a target by walking every path, (T, U + 1, V [+ D]) with the blank at 0."""
    frames, places = scores.shape[:2]
    entries = scores[..., : scores.shape[-1] - len(durations)].log_softmax(-1)
    lasting = scores[..., scores.shape[-1] - len(durations) :].log_softmax(-1)
    moves = [(1, 0, None), (0, 1, None)]
    if durations:
        moves = [(d, 0, i) for i, d in enumerate(durations) if d]
        moves += [(d, 1, i) for i, d in enumerate(durations)]

    def walk(t: int, u: int) -> list[float]:
        if (t, u) == (frames, places - 1):
            return [0.0]
        if t >= frames:
            return []
        found = []
        for dt, du, place in moves:
            if u + du >= places or (du and t + dt >= frames):
                continue
            score = entries[t, u, target[u] if du else 0].item()
            if place is not None:
                score += lasting[t, u, place].item()
            found += [score + rest for rest in walk(t + dt, u + du)]
        return found

    return sum((math.exp(path) for path in walk(0, 0)), 0.0)


@pytest.mark.parametrize("durations", [(), (0, 1, 2), (1, 3), (0, 1, 2, 4)])
def test_the_loss_sums_over_every_path(durations: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    for frames, tokens in itertools.product((1, 2, 4), (0, 1, 3)):
        scores = torch.randn(1, frames, tokens + 1, 4 + len(durations), dtype=torch.float64)
        target = torch.randint(1, 4, (1, tokens))
        found = transducer_loss_of_scores(
            scores, target, torch.tensor([frames]), torch.tensor([tokens]), durations=durations
        )
        wanted = all_paths(scores[0], target[0].tolist(), durations)
        torch.testing.assert_close(found.neg().exp().item(), wanted, rtol=1e-10, atol=1e-14)


def test_values_and_gradients_are_those_of_torchaudio() -> None:
    torchaudio = pytest.importorskip("torchaudio")
    torch.manual_seed(1)
    scores = torch.randn(3, 7, 5, 6, requires_grad=True)
    targets = torch.randint(1, 6, (3, 4))
    found = transducer_loss_of_scores(scores, targets, LENGTHS, TARGETS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchaudio may say that it will be taken out
        wanted = torchaudio.functional.rnnt_loss(
            scores, targets.int(), LENGTHS.int(), TARGETS.int(), blank=0, reduction="none"
        )
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    [ours] = torch.autograd.grad(found.sum(), scores)
    [theirs] = torch.autograd.grad(wanted.sum(), scores)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("durations", [(), (0, 1, 2)])
def test_gradients_are_those_of_the_reference(durations: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    arcs = transducer_arcs(durations)
    weights = torch.randn(3, len(arcs), 7, 5, dtype=torch.float64, requires_grad=True)
    share = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found, gradients = [], []
    for score in (lattice_score, lattice_score_reference):
        found.append(score(weights, arcs, LENGTHS, TARGETS))
        gradients.append(torch.autograd.grad((found[-1] * share).sum(), weights)[0])
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*gradients)
    # What is taken is the probability of an arc: one path, so all arcs in time move over all frames.
    moved = sum(frames * gradients[0][:, kind].sum((1, 2)) for kind, (frames, _) in enumerate(arcs))
    torch.testing.assert_close(moved, LENGTHS * share)


@pytest.mark.parametrize("durations", [(), (0, 1, 2)])
def test_the_chunked_joint_is_the_whole_one(durations: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    joint = Joint(8, 6 + len(durations)).double()
    encoded = torch.randn(3, 7, 8, dtype=torch.float64, requires_grad=True)
    predicted = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(1, 6, (3, 4))
    leaves = [encoded, predicted, *joint.parameters()]
    whole = transducer_loss_of_scores(
        joint(encoded[:, :, None], predicted[:, None]),
        targets,
        LENGTHS,
        TARGETS,
        durations=durations,
        under_normalisation=0.05,
    )
    wanted = torch.autograd.grad(whole.sum(), leaves)
    for held in (1, 300, 1 << 20):
        found = transducer_loss(
            joint,
            encoded,
            predicted,
            targets,
            LENGTHS,
            TARGETS,
            durations=durations,
            under_normalisation=0.05,
            held=held,
        )
        torch.testing.assert_close(found, whole)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), leaves), wanted)


def test_what_stands_beyond_an_item_is_nothing() -> None:
    torch.manual_seed(4)
    joint = Joint(8, 6)
    encoded, predicted = torch.randn(3, 7, 8), torch.randn(3, 5, 8)
    targets = torch.randint(1, 6, (3, 4))
    for item, (frames, tokens) in enumerate(zip(LENGTHS, TARGETS, strict=True)):
        encoded[item, frames:], predicted[item, tokens + 1 :] = torch.nan, torch.nan
        targets[item, tokens:] = -100
    encoded.requires_grad_()
    found = transducer_loss(joint, encoded, predicted, targets, LENGTHS, TARGETS)
    alone = [
        transducer_loss(
            joint,
            encoded[item : item + 1, :frames],
            predicted[item : item + 1, : tokens + 1],
            targets[item : item + 1, :tokens],
            LENGTHS[item : item + 1],
            TARGETS[item : item + 1],
        )
        for item, (frames, tokens) in enumerate(zip(LENGTHS, TARGETS, strict=True))
    ]
    torch.testing.assert_close(found, torch.cat(alone))
    found.sum().backward()
    for gradient in (encoded.grad, joint.out.weight.grad):
        assert gradient is not None
        assert torch.isfinite(gradient).all()


def test_narrow_types_are_summed_wide() -> None:
    torch.manual_seed(5)
    scores = torch.randn(3, 40, 5, 6)
    targets = torch.randint(1, 6, (3, 4), dtype=torch.int64)
    narrow = scores.bfloat16().requires_grad_()
    found = transducer_loss_of_scores(narrow, targets, LENGTHS + 30, TARGETS)
    wanted = transducer_loss_of_scores(narrow.detach().float(), targets, LENGTHS + 30, TARGETS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted)
    found.sum().backward()
    assert narrow.grad is not None
    assert narrow.grad.dtype == torch.bfloat16


def test_a_target_that_no_alignment_gives_costs_infinity_and_teaches_nothing() -> None:
    scores = torch.zeros(2, 3, 4, 6 + 1, requires_grad=True)
    lengths, tokens = torch.tensor([3, 3]), torch.tensor([3, 1])
    # Every arc moves one frame, and the last is a blank: three frames have room for two tokens.
    loss = transducer_loss_of_scores(
        scores, torch.ones(2, 3, dtype=torch.long), lengths, tokens, durations=(1,)
    )
    assert torch.isinf(loss[0])
    assert torch.isfinite(loss[1])
    [gradient] = torch.autograd.grad(loss[torch.isfinite(loss)].sum(), scores)
    assert gradient[0].abs().sum() == 0
    assert torch.isfinite(gradient).all()


def test_wrong_lengths_and_durations_are_named() -> None:
    scores, targets = torch.zeros(1, 3, 3, 5), torch.ones(1, 2, dtype=torch.long)
    two, three = torch.tensor([2]), torch.tensor([3])
    with pytest.raises(UserError, match="durations are different numbers"):
        transducer_loss_of_scores(scores, targets, three, two, durations=(0,))
    with pytest.raises(UserError, match=r"lengths \[4\] must be within 1 and the 3 frames"):
        transducer_loss_of_scores(scores, targets, three + 1, two)
    with pytest.raises(UserError, match="go beyond the 2 targets"):
        transducer_loss_of_scores(scores, targets, three, three)
    with pytest.raises(UserError, match="do not fit"):
        transducer_loss_of_scores(scores, targets[:, :1], three, two)


@pytest.mark.slow
def test_memory_is_a_quarter_of_that_of_torchaudio_at_most() -> None:
    pytest.importorskip("torchaudio")
    bench = Path(__file__).parents[4] / "tools" / "bench" / "transducer.py"
    shown = subprocess.run(
        [sys.executable, str(bench), "--frames", "150", "--vocabulary", "500"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    ratio = float(shown.split("memory ratio ")[1].split()[0])
    assert ratio <= 0.25, shown
