"""Panoptic quality against the equations of the paper, written down pixel by pixel."""

import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.vision.metrics.panoptic_quality import PanopticQuality
from headway.vision.models.masks import MaskTarget, Panoptic, Segment

CLASSES, SIDE = 3, 12


def picture(generator: torch.Generator) -> tuple[Panoptic, MaskTarget]:
    """A truth of random blocks, some of them void or crowds, and an answer that is partly right."""

    def blocks() -> torch.Tensor:
        coarse = torch.randint(0, 7, (4, 4), generator=generator)
        return coarse.repeat_interleave(3, 0).repeat_interleave(3, 1)

    truth = blocks()
    answer = torch.where(torch.rand(SIDE, SIDE, generator=generator) < 0.8, truth, blocks())
    labels = torch.randint(CLASSES, (6,), generator=generator)
    crowd = torch.rand(6, generator=generator) < 0.3
    there = torch.stack([truth == number for number in range(1, 7)])
    own = torch.where(torch.rand(6, generator=generator) < 0.8, labels, (labels + 1) % CLASSES)
    segments = [
        Segment(number, int(own[number - 1]), 1.0)
        for number in range(1, 7)
        if (answer == number).any()
    ]
    kept = there.flatten(1).any(1)
    return Panoptic(answer, segments), MaskTarget(there[kept], labels[kept], crowd[kept])


def by_hand(pairs: list[tuple[Panoptic, MaskTarget]]) -> np.ndarray:
    """PQ of each class: sums over matched pairs, missed and wrong segments (sections 4.1 to 4.3)."""
    total, found, wrong, missed = (np.zeros(CLASSES) for _ in range(4))
    for answer, truth in pairs:
        ids = answer.ids.numpy()
        masks = truth.masks.numpy()
        void = ~masks.any(0)
        hit, used = set(), set()
        for g, mask in enumerate(masks):
            for segment in answer.segments:
                own = ids == segment.id
                if truth.crowd[g] or segment.label != int(truth.labels[g]):
                    continue
                overlap = (mask & own).sum() / (mask | (own & ~void)).sum()
                if overlap > 0.5:
                    total[segment.label] += overlap
                    found[segment.label] += 1
                    hit.add(g)
                    used.add(segment.id)
        for g in range(len(masks)):
            if g not in hit and not truth.crowd[g]:
                missed[int(truth.labels[g])] += 1
        for segment in answer.segments:
            own = ids == segment.id
            aside = void.copy()
            for g, mask in enumerate(masks):
                if truth.crowd[g] and int(truth.labels[g]) == segment.label:
                    aside |= mask
            if segment.id not in used and (own & aside).sum() <= 0.5 * own.sum():
                wrong[segment.label] += 1
    return total / (found + wrong / 2 + missed / 2)


def test_it_equals_the_equations_with_void_and_crowds() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = [picture(generator) for _ in range(40)]
    assert any(truth.crowd.any() for _, truth in pairs)
    assert any((~truth.masks.any(0)).any() for _, truth in pairs)
    metric = PanopticQuality(num_classes=CLASSES)
    for answer, truth in pairs:
        metric.update([answer], [truth])
    scores = metric.compute()
    expected = by_hand(pairs)
    np.testing.assert_allclose(scores["pq"].numpy(), expected, rtol=1e-6)
    torch.testing.assert_close(scores["pq"], scores["sq"] * scores["rq"])
    assert float(scores["mean"]) == pytest.approx(expected.mean(), rel=1e-6)
    assert 0.1 < float(scores["mean"]) < 0.9


def test_what_is_right_is_1_and_classes_that_are_nowhere_do_not_count() -> None:
    ids = torch.tensor([[1, 1, 2, 2]])
    truth = MaskTarget(
        torch.stack([ids == 1, ids == 2]), torch.tensor([0, 2]), torch.zeros(2, dtype=torch.bool)
    )
    metric = PanopticQuality(num_classes=4)
    metric.update([Panoptic(ids, [Segment(1, 0, 0.9), Segment(2, 2, 0.9)])], [truth])
    scores = metric.compute()
    assert scores["pq"].isnan().tolist() == [False, True, False, True]
    assert float(scores["mean"]) == 1
    metric.update([Panoptic(torch.zeros_like(ids), [])], [truth])
    assert float(metric.compute()["mean"]) == pytest.approx(2 / 3)


def test_masks_that_overlap_are_no_map() -> None:
    masks = torch.ones(2, 2, 2, dtype=torch.bool)
    truth = MaskTarget(masks, torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.bool))
    with pytest.raises(UserError, match="overlap"):
        PanopticQuality(num_classes=1).update([Panoptic(torch.ones(2, 2).long(), [])], [truth])
