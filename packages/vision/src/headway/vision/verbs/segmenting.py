"""Segmenters with what their pictures must go through, and what they answer for pictures of any size."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from headway.core.cli.loading import load_model
from headway.core.weights import read_preprocessing
from headway.core.weights.preprocessing import reading_note
from headway.vision.data.mask_classes import MaskClasses
from headway.vision.data.mask_preprocessing import SegmentationPreprocessing
from headway.vision.models.segmenter import Segmenter
from headway.vision.verbs.canvas import Canvas
from headway.vision.verbs.search import check_tiles, tiles

MOST_SCORES = 2**28
"""Scores of pixels that are held at once (1 GiB); of larger pictures the scores are coarser."""


class ReadySegmenter(Protocol):
    """What is asked: a model, or its exported graph."""

    @property
    def preprocessing(self) -> SegmentationPreprocessing:
        """What a picture goes through."""
        ...

    @property
    def classes(self) -> MaskClasses:
        """The classes of pixels."""
        ...

    def scores(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns the scores of pictures of one size, at a size, on the CPU.

        Shape:
            images: (B, 3, H, W). Output: (B, K, *size).
        """
        ...


@dataclass(frozen=True, kw_only=True)
class LoadedSegmenter:
    """A model that is ready; to those who ask, a ``ReadySegmenter``.

    Args:
        model: In evaluation mode, on its device.
        preprocessing: What a picture goes through.
        classes: The classes of pixels.
        device: Where the model is.
    """

    model: Segmenter
    preprocessing: SegmentationPreprocessing
    classes: MaskClasses
    device: torch.device

    @torch.inference_mode()
    def scores(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns the scores of pictures of one size, at a size."""
        return self.model.semantic(images.to(self.device), size).float().cpu()


def load_segmenter(source: str, device: str | None = None) -> LoadedSegmenter:
    """Loads a run folder, a checkpoint, a directory or a hub id.

    Raises:
        UserError: If the model is no segmenter, or has other classes than its preprocessing.json.
    """
    otherwise = "which gives pixels no class; use headway predict or headway detect"
    return as_segmenter(*load_model(source, device, Segmenter, otherwise), source)


def as_segmenter(model: Segmenter, place: torch.device, source: str) -> LoadedSegmenter:
    """Puts a model and its ``preprocessing.json`` together."""
    cfg = {**model.pretrained_cfg, **read_preprocessing(source)}
    with reading_note("what it says about pictures", source):
        preprocessing = SegmentationPreprocessing.from_cfg(cfg)
        classes = MaskClasses.from_cfg(cfg, model.num_classes, source)
    least = max(preprocessing.least, model.least)
    return LoadedSegmenter(
        model=model.eval().to(place),
        preprocessing=replace(preprocessing, least=least),
        classes=classes,
        device=place,
    )


@dataclass(frozen=True, kw_only=True)
class Looking:
    """How a picture is looked at.

    Args:
        tile: Side in pixels of the tiles that larger pictures are cut into; whole if None.
        overlap: Share of a tile that the next one has too.
        mirror: Whether scores are averaged with those of the mirrored picture.
        batch_size: Pictures of a batch, or tiles.

    Raises:
        UserError: If a value is outside its range.
    """

    tile: int | None = None
    overlap: float = 0.2
    mirror: bool = False
    batch_size: int = 4

    def __post_init__(self) -> None:
        check_tiles(self.tile, self.overlap)

    def in_tiles(self, image: Image.Image) -> bool:
        """Returns whether a picture is cut."""
        return self.tile is not None and max(image.size) > self.tile


@dataclass(frozen=True)
class Segmented:
    """A picture and what its pixels are.

    Args:
        image: The picture.
        labels: The class of each pixel by its place, (H, W).
        scores: How sure that is, (H, W).
    """

    image: Image.Image
    labels: Tensor
    scores: Tensor


def segmented(
    segmenter: ReadySegmenter, images: Sequence[Image.Image], looking: Looking
) -> list[Segmented]:
    """Returns the classes of the pixels of pictures of any sizes; those of one size go together."""
    found: dict[int, Segmented] = {}
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        if looking.in_tiles(image):
            found[place] = _in_tiles(segmenter, image, looking)
        else:
            groups[image.height, image.width].append(place)
    for size, places in groups.items():
        needed = len(segmenter.classes) * size[0] * size[1]
        scale = min(1.0, (MOST_SCORES / needed) ** 0.5)
        coarse = (max(1, int(size[0] * scale)), max(1, int(size[1] * scale)))
        step = max(1, min(looking.batch_size, MOST_SCORES // needed))
        for start in range(0, len(places), step):
            part = places[start : start + step]
            scores = _scores(segmenter, [images[place] for place in part], coarse, looking.mirror)
            for place, of_one in zip(part, scores, strict=True):
                surest, labels = of_one.max(0)
                found[place] = _at_size(images[place], labels, surest)
    return [found[place] for place in range(len(images))]


def _in_tiles(segmenter: ReadySegmenter, image: Image.Image, looking: Looking) -> Segmented:
    assert looking.tile is not None
    views = tiles(image, looking.tile, looking.overlap)
    canvas = Canvas(len(segmenter.classes), image.height, image.width)
    for start in range(0, len(views), looking.batch_size):
        part = views[start : start + looking.batch_size]
        size = (part[0].image.height, part[0].image.width)
        scores = _scores(segmenter, [view.image for view in part], size, looking.mirror)
        for view, one in zip(part, scores, strict=True):
            canvas.add(one, view.left, view.top)
    return Segmented(image, *canvas.finished())


def _scores(
    segmenter: ReadySegmenter,
    images: Sequence[Image.Image],
    size: tuple[int, int],
    mirror: bool,
) -> Tensor:
    """Returns the scores of pictures of one size, at a size."""
    tensors = torch.stack([segmenter.preprocessing.tensor(image) for image in images])
    scores = segmenter.scores(tensors, size)
    return (scores + segmenter.scores(tensors.flip(-1), size).flip(-1)) / 2 if mirror else scores


def _at_size(image: Image.Image, labels: Tensor, scores: Tensor) -> Segmented:
    size = (image.height, image.width)
    if labels.shape != size:
        labels = F.interpolate(labels[None, None].float(), size, mode="nearest")[0, 0].long()
        scores = F.interpolate(scores[None, None], size, mode="bilinear")[0, 0]
    return Segmented(image, labels, scores)
