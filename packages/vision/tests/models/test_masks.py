"""Answers of mask classifiers against transformers' processors."""

import pytest
import torch
from transformers import Mask2FormerImageProcessor
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerForUniversalSegmentationOutput,
)

from headway.vision.models import Masks
from headway.vision.models.masks import instances, panoptic, semantic

# The size to which transformers enlarges masks first.
SIDES = (384, 384)


def found() -> tuple[Masks, Mask2FormerForUniversalSegmentationOutput]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 8, 5, generator=generator) * 3
    # Masks of several pixels, some of which overlap.
    masks = torch.randn(2, 8, 4, 4, generator=generator) * 6
    masks[1, 3] = -5
    logits[0, 2] = torch.tensor([0.0, 9.0, 0.0, 0.0, 0.0])
    theirs = Mask2FormerForUniversalSegmentationOutput(
        class_queries_logits=logits,
        masks_queries_logits=masks,  # pyright: ignore[reportArgumentType]
    )
    return Masks(logits, masks), theirs


PROCESSOR = Mask2FormerImageProcessor()


def test_scores_of_pixels_equal_theirs() -> None:
    ours, theirs = found()
    scores = semantic(ours, SIDES)
    expected = PROCESSOR.post_process_semantic_segmentation(theirs, return_segmentation_scores=True)
    for mine, one in zip(scores, expected, strict=True):
        torch.testing.assert_close(mine, one.segmentation_scores, atol=1e-5, rtol=1e-5)
        assert torch.equal(mine.argmax(0), one.segmentation)


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_instances_equal_theirs(threshold: float) -> None:
    ours, theirs = found()
    expected = PROCESSOR.post_process_instance_segmentation(
        theirs, threshold=threshold, return_binary_maps=True
    )
    for mine, one in zip(instances(ours, SIDES, threshold=threshold), expected, strict=True):
        info = one["segments_info"]
        order = sorted(range(len(info)), key=lambda place: -info[place]["score"])
        assert len(mine.scores) == len(info) > 0
        torch.testing.assert_close(
            mine.scores, torch.tensor([info[k]["score"] for k in order]), atol=1e-5, rtol=0
        )
        assert mine.labels.tolist() == [info[k]["label_id"] for k in order]
        assert torch.equal(mine.masks, one["segmentation"][order].bool())


@pytest.mark.parametrize("overlap", [0.0, 0.8])
def test_segments_equal_theirs(overlap: float) -> None:
    ours, theirs = found()
    expected = PROCESSOR.post_process_panoptic_segmentation(
        theirs, overlap_mask_area_threshold=overlap, label_ids_to_fuse=set()
    )
    for mine, one in zip(panoptic(ours, SIDES, overlap=overlap), expected, strict=True):
        assert torch.equal(mine.ids, one["segmentation"].long())
        assert [(s.id, s.label) for s in mine.segments] == [
            (info["id"], info["label_id"]) for info in one["segments_info"]
        ]
        for segment, info in zip(mine.segments, one["segments_info"], strict=True):
            assert segment.score == pytest.approx(info["score"], abs=1e-5)


def test_stuff_of_a_class_is_one_segment_and_numbers_stay_unique() -> None:
    """transformers counts on from the number that it used again, so that two segments share one."""
    logits = torch.full((1, 4, 4), -9.0)
    for query, label in enumerate((0, 1, 0, 2)):
        logits[0, query, label] = 9
    masks = torch.full((1, 4, 4, 4), -9.0)
    for query in range(4):
        masks[0, query, query] = 9
    [apart] = panoptic(Masks(logits, masks), (4, 4))
    assert apart.ids[:, 0].tolist() == [1, 2, 3, 4]
    [fused] = panoptic(Masks(logits, masks), (4, 4), stuff={0})
    assert fused.ids[:, 0].tolist() == [1, 2, 1, 3]
    assert [segment.label for segment in fused.segments] == [0, 1, 2]
    assert fused.ids.dtype == torch.int64


def test_a_picture_without_masks_has_no_segment() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[..., -1] = 9
    empty = Masks(logits, torch.ones(1, 3, 4, 4))
    [one] = panoptic(empty, (8, 8))
    assert not one.segments
    assert not one.ids.any()
    [none] = instances(empty, (8, 8))
    assert none.masks.shape == (0, 8, 8)
