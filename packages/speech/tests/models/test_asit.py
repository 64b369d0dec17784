"""ASiT: what is hidden, whom the student agrees with, and what that is worth for telling classes apart."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.weights import save_pretrained
from headway.speech.audio_batch import AudioBatch
from headway.speech.front_ends import FixedFbank, GroupMasking, Masking
from headway.speech.layers import Prototypes, SelfDistillation
from headway.speech.models import AST, ASiT, pretrained_classifier

STEPS, BANDS, SIDE = 32, 16, 8


class Scattered(Masking):
    """The plain part: each patch is hidden or not, whatever its neighbours are."""

    def forward(self, features: Tensor) -> Tensor:
        drawn = torch.rand(len(features), STEPS // SIDE, BANDS // SIDE) < self.share
        return drawn.repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)


def student(**options: Any) -> ASiT:
    front_end = FixedFbank(sample_rate=8000, mels=BANDS, steps=STEPS)
    classifier = AST(front_end=front_end, dim=32, depth=1, heads=4, patch=SIDE, stride=SIDE)
    sizes = {"answers": 64, "local_answers": 32, "hidden": 64, "momentum": 0.97}
    return ASiT(classifier=classifier, **{**sizes, **options})


def batch(inputs: Tensor) -> AudioBatch:
    return AudioBatch(inputs, torch.full((len(inputs),), STEPS), torch.zeros(len(inputs)).long())


def test_blocks_are_hidden_until_there_are_enough_and_neighbours_with_them() -> None:
    torch.manual_seed(0)
    hidden = GroupMasking(share=0.7)(torch.randn(200, 64, 40))
    shares = hidden.float().mean((1, 2))
    assert shares.min() >= 0.5
    assert shares.max() < 0.7 + 0.3 * 0.3
    assert 0.57 < shares.mean() < 0.67
    # Beside a hidden value the next is hidden, too, at borders as well as in the middle.
    both = (hidden[:, 1:] & hidden[:, :-1]).float().mean() / shares.mean()
    assert both > 0.85
    places = hidden.float().mean(0)
    assert places.min() > 0.45
    for wrong in ({"share": 1.0}, {"largest": 0.0}):
        with pytest.raises(UserError):
            GroupMasking(**wrong)


def test_the_student_is_asked_what_a_centred_sharp_teacher_says() -> None:
    torch.manual_seed(0)
    agreement = SelfDistillation(5, temperature=0.04, student_temperature=0.1, memory=0.9)
    said, told = torch.randn(2, 3, 5, requires_grad=True), torch.randn(2, 3, 5, requires_grad=True)
    centre = torch.zeros(5)
    for _ in range(3):
        loss = agreement.train()(said, told)
        wanted = ((told.detach() - centre) / 0.04).softmax(-1)
        torch.testing.assert_close(
            loss, F.cross_entropy((said / 0.1).flatten(0, 1), wanted.flatten(0, 1))
        )
        centre = 0.9 * centre + 0.1 * told.detach().flatten(0, 1).mean(0)
    loss.backward()
    assert told.grad is None
    agreement.eval()(said, told)
    torch.testing.assert_close(agreement.centre, centre)
    cosines = Prototypes(4, 6, hidden=8, width=3)(torch.randn(2, 7, 4))
    assert cosines.shape == (2, 7, 6)
    assert cosines.abs().max() <= 1


def test_the_teacher_hears_whole_views_and_follows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = student(shift=0.0, agreement=1.0, local_agreement=2.0, mending=3.0)
    heard: list[Tensor] = []
    teacher: Any = model.teacher
    hook = teacher["classifier"].embedding.register_forward_hook(
        lambda _, given, __: heard.append(given[0])
    )
    x = torch.randn(4, STEPS, BANDS)
    losses = model.train().loss(batch(x))
    hook.remove()
    assert torch.equal(heard[0], torch.cat([x, x]).transpose(1, 2)[:, None])
    total = losses["agreement"] + 2 * losses["local"] + 3 * losses["mending"]
    torch.testing.assert_close(losses["loss"], total)
    losses["loss"].backward()
    assert all(one.grad is None for one in model.teacher.parameters())
    before = teacher["each"].directions.clone()
    with torch.no_grad():
        model.each.directions.add_(1.0)
    model.follow()
    torch.testing.assert_close(teacher["each"].directions, before + 0.03)
    # The run starts a classifier.
    folder = save_pretrained(model, tmp_path / "asit")
    found = pretrained_classifier(str(folder))
    assert isinstance(found, AST)
    torch.testing.assert_close(found.tokens(x)[0], model.classifier.tokens(x)[0])
    with pytest.raises(UserError, match="must count"):
        student(agreement=0.0, local_agreement=0.0, mending=0.0)


def sounds(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Returns sounds that rise or fall, fast or slowly, from one of four bands, and which of the four they do."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (count,), generator=generator)
    begin = 4.0 * torch.randint(4, (count, 1), generator=generator)
    slope = torch.tensor([-0.5, -0.2, 0.2, 0.5])[kind][:, None]
    place = (begin + slope * torch.arange(STEPS)) % BANDS
    off = (place[..., None] - torch.arange(BANDS)).abs()
    loud = 0.7 + 0.6 * torch.rand(count, 1, 1, generator=generator)
    x = 2 * torch.exp(-(torch.minimum(off, BANDS - off) ** 2)) * loud
    x = x + 0.4 * torch.randn(x.shape, generator=generator)
    return (x - 0.3) / 1.5, kind


def taught(seed: int, steps: int = 200, **options: Any) -> ASiT:
    torch.manual_seed(seed)
    model = student(**options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps, pct_start=0.2)
    for step in range(steps):
        x, _ = sounds(32, 10_000 * (seed + 1) + step)
        optimizer.zero_grad()
        model.train().loss(batch(x))["loss"].backward()
        optimizer.step()
        schedule.step()
        model.follow()
    return model.eval()


@torch.no_grad()
def probe(model: ASiT, seed: int, draws: int = 10) -> float:
    """Accuracy of a linear reader of the frozen front tokens, taught by 24 sounds with their classes."""

    def read(count: int, start: int) -> tuple[Tensor, Tensor]:
        x, kind = sounds(count, start)
        return model.classifier.tokens(x)[0][:, :2].mean(dim=1), kind

    test, truth = read(300, 9000 + seed)
    right = []
    for draw in range(draws):
        x, y = read(24, 5000 + 100 * seed + draw)
        mean, std = x.mean(0), x.std(0) + 1e-5
        x = (x - mean) / std
        gram = x.T @ x + 3.0 * torch.eye(x.shape[1])
        weights = torch.linalg.solve(gram, x.T @ F.one_hot(y, 4).float())
        right.append(((((test - mean) / std) @ weights).argmax(1) == truth).float().mean())
    return float(torch.stack(right).mean())


@pytest.mark.learns
def test_groups_and_agreement_tell_classes_better_than_mended_scattered_patches(
    seed: int, measured
) -> None:
    groups = {
        name: GroupMasking(share=share, largest=0.6)
        for name, share in (("masking", 0.5), ("mixing", 0.3))
    }
    both = probe(taught(seed, **groups), seed)
    scattered = Scattered(share=0.6)
    plain = {"masking": scattered, "mixing": scattered, "agreement": 0.0, "local_agreement": 0.0}
    mended = probe(taught(seed, **plain), seed)
    measured("accuracy of a linear reader", both, above=0.8)
    measured("accuracy over plain mending", both - mended, above=0.04)
