import numpy as np
import pytest

from headway.core.errors import UserError
from headway.core.training.splits import part_size
from headway.vision.data.splits import stratified_split

LABELS = np.random.default_rng(0).choice(5, 997, p=[0.5, 0.2, 0.2, 0.09, 0.01])


def test_parts_are_disjoint_and_complete() -> None:
    stay, gone = stratified_split(LABELS, 200, 0)
    assert len(gone) == 200
    assert np.array_equal(np.sort(np.concatenate([stay, gone])), np.arange(len(LABELS)))


def test_every_class_gives_its_share_within_one_picture() -> None:
    _, gone = stratified_split(LABELS, 200, 0)
    given = np.bincount(LABELS[gone], minlength=5)
    assert np.abs(given - np.bincount(LABELS) * 200 / len(LABELS)).max() < 1


def test_a_split_depends_on_labels_and_seed_alone() -> None:
    first, again, other = (stratified_split(LABELS, 200, seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_class_of_one_picture_keeps_it() -> None:
    labels = np.array([0, 1, 2, 3, *[4] * 20])
    stay, _ = stratified_split(labels, 5, 0)
    assert set(labels[stay]) == set(range(5))


@pytest.mark.parametrize("part", [1.5, -0.1, 100, 1.0])
def test_a_split_that_leaves_nothing_is_refused(part: float) -> None:
    with pytest.raises(UserError, match="val"):
        part_size(part, 100, "val")
