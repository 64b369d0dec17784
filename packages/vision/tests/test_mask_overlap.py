"""Intersection over union on masks small enough to count by hand."""

import pytest
import torch

from headway.core.errors import UserError
from headway.vision.metrics.overlap import MaskOverlap, class_overlaps, overlap_figure


def test_counts_of_two_batches_are_added_before_they_are_divided() -> None:
    metric = MaskOverlap(num_classes=3)
    metric.update(torch.tensor([[0, 0, 1]]), torch.tensor([[0, 1, 1]]))
    metric.update(torch.tensor([[1, 0, 2]]), torch.tensor([[1, 0, 255]]))
    scores = metric.compute()
    # Class 0: 2 of 3 pixels; class 1: 2 of 3; class 2 only where pixels do not count.
    torch.testing.assert_close(
        scores["iou"], torch.tensor([2 / 3, 2 / 3, float("nan")]), equal_nan=True
    )
    torch.testing.assert_close(scores["miou"], torch.tensor(2 / 3))
    torch.testing.assert_close(scores["accuracy"], torch.tensor(4 / 5))


def test_a_class_that_is_only_predicted_counts_as_missed() -> None:
    metric = MaskOverlap(num_classes=3)
    metric.update(torch.tensor([0, 2]), torch.tensor([0, 0]))
    torch.testing.assert_close(metric.compute()["miou"], torch.tensor(0.25))


@pytest.mark.parametrize("label", [3, -1])
def test_labels_beyond_the_classes_are_refused(label: int) -> None:
    with pytest.raises(UserError, match="classes go from 0 to 2"):
        MaskOverlap(num_classes=3).update(torch.tensor([0]), torch.tensor([label]))


def test_each_class_has_a_row_that_says_what_it_is_taken_for() -> None:
    metric = MaskOverlap(num_classes=3)
    metric.update(torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 1, 0, 0]))
    rows = class_overlaps(metric.compute()["matrix"], ["road", "car", "sky"])
    assert rows[0] == {
        "class": "road", "pixels": 3, "iou": 0.25, "precision": 0.5, "recall": 0.333333, "taken_for": "car",
    }  # fmt: skip
    assert rows[1]["taken_for"] == "road"
    assert (rows[2]["pixels"], rows[2]["iou"], rows[2]["taken_for"]) == (0, None, None)
    assert overlap_figure(rows).axes[0].get_yticklabels()[0].get_text() == "road (60.0%)"
