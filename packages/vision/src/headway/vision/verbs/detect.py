"""Finds objects in pictures, draws their boxes and writes tables of them."""

import argparse
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.options import check_positive
from headway.core.cli.progress import with_progress
from headway.core.files import atomic_write, write_csv
from headway.vision.data.detection_batch import fill_up
from headway.vision.data.reading import ImageError
from headway.vision.drawing import draw_boxes
from headway.vision.tracking import Tracker
from headway.vision.verbs.exported import ExportedDetector, detector_from
from headway.vision.verbs.ground_truth import Truth, read_ground_truth
from headway.vision.verbs.inputs import Item, add_input_options, find_items, free_name, read_item
from headway.vision.verbs.loading import Detector
from headway.vision.verbs.search import Search, add_search_options, class_thresholds, search_of

log = logging.getLogger(__name__)

COLUMNS: tuple[str, ...] = (
    "file", "picture", "label", "score", "left", "top", "right", "bottom", "track", "error",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway detect``."""
    parser.description = (
        "Writes into the folder OUT each picture with the boxes that were found, detections.csv (one row "
        "per object, in pixels) and detections.json (COCO's format) and results.json (the list "
        "that pycocotools' loadRes takes)."
    )
    add_input_options(parser, batch_size=4)
    parser.add_argument(
        "--annotations",
        metavar="FILE",
        help="ground truth in COCO's format: its ids of images, by file_name, and of categories, by name, "
        "are those of the answers; a picture is turned as its height and width there say",
    )
    add_search_options(parser)
    parser.add_argument(
        "--track",
        action="store_true",
        help="the pictures of a folder are frames, by the numbers in their names: objects keep a number",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the pictures and tables; returns 1 if no picture could be read."""
    check_positive(args, "batch_size")
    job = Job(args, "detect with", items="pictures", out="folder")
    search = search_of(args)
    items, job.counts.ignored = find_items(args.inputs)
    if args.track:
        items.sort(key=_frame)
    detector = detector_from(args.checkpoint, args.device)
    classes, ids = detector.classes, detector.category_ids
    search = replace(search, per_class=class_thresholds(args.class_threshold, classes))
    truths = {}
    if args.annotations:
        truth = read_ground_truth(args.annotations, items, classes, ids)
        truths, ids = truth.pictures, truth.category_ids
        if truth.unknown:
            log.warning("%s has no category %s", args.annotations, ", ".join(truth.unknown))
    tables = _Tables(classes, ids)
    taken: set[str] = set()
    # Each folder is a sequence of its own.
    trackers: dict[Path, Tracker] = defaultdict(Tracker)
    answers = detect(
        detector,
        items,
        batch_size=args.batch_size,
        search=search,
        on_invalid=args.on_invalid,
        counts=job.counts,
        sizes={item: truth.size for item, truth in truths.items()},
    )
    with job.folder() as folder:
        for item, answer in answers:
            if isinstance(answer, ImageError):
                tables.rows.append({"file": item.shown, "error": answer.reason})
                continue
            if args.track:
                tracks = trackers[Path(item.shown).parent].follow(answer.found)
                answer = Answer(answer.image, {**answer.found, "tracks": tracks})
            name = free_name(item.name, taken)
            drawn = draw_boxes(answer.image, answer.found, detector.classes)
            with atomic_write(folder / name) as file:
                drawn.save(file, format="PNG")
            tables.add(item.shown, name, answer, truths.get(item))
        tables.save(folder)
    objects = len(tables.annotations)
    return job.end(
        f"pictures with {objects} objects written{job.place}",
        pictures=job.counts.done,
        objects=objects,
    )


@dataclass(frozen=True)
class Answer:
    """A picture and what was found in it.

    Args:
        image: The picture.
        found: ``scores``, ``labels`` and ``boxes`` in its pixels, the surest first; ``tracks`` where objects
            are followed.
    """

    image: Image.Image
    found: dict[str, Tensor]


def detect(
    detector: Detector | ExportedDetector,
    items: Sequence[Item],
    *,
    batch_size: int = 4,
    search: Search | None = None,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
    sizes: Mapping[Item, tuple[int, int] | None] | None = None,
) -> Iterator[tuple[Item, Answer | ImageError]]:
    """Yields what was found in each picture, in the order of the items.

    Args:
        detector: The model.
        items: The pictures.
        batch_size: Pictures of a batch.
        search: How pictures are looked at, and what is answered; as a whole, with scores from 0.5 on if
            None.
        on_invalid: ``raise`` stops at a picture that cannot be read, ``skip`` leaves it out, ``keep`` yields
            its error.
        counts: Is told what became of each picture.
        sizes: Height and width that a ground truth gives a picture: it is read as in training, upright or
            as it is stored, whichever has them.
    """
    counts, search = counts or Counts("pictures"), search or Search()
    sizes, bits = sizes or {}, detector.preprocessing.bits
    starts = range(0, len(items), batch_size)
    for start in with_progress(starts, "detecting"):
        batch = items[start : start + batch_size]
        images = [read_item(item, size=sizes.get(item), bits=bits) for item in batch]
        whole = [image for image in images if not isinstance(image, ImageError)]
        answers = iter(_answers(detector, whole, search, batch_size) if whole else ())
        for item, image in zip(batch, images, strict=True):
            if isinstance(image, ImageError):
                counts.refuse(image, on_invalid)
                if on_invalid == "keep":
                    yield item, image
            else:
                counts.done += 1
                yield item, next(answers)


def _frame(item: Item) -> list[tuple[int, str]]:
    """Returns what sorts frames: numbers in their names by value, ``frame_9`` before ``frame_10``."""
    return [
        (int(part), "") if part.isascii() and part.isdigit() else (-1, part)
        for part in re.split(r"([0-9]+)", item.shown)
    ]


def _answers(
    detector: Detector | ExportedDetector,
    images: Sequence[Image.Image],
    search: Search,
    batch_size: int,
) -> Iterator[Answer]:
    views = [search.views(image) for image in images]
    flat = [view.image for of_image in views for view in of_image]
    found: list[dict[str, Tensor]] = []
    for start in range(0, len(flat), batch_size):
        part = flat[start : start + batch_size]
        filled, sizes = fill_up([detector.preprocessing.tensor(image) for image in part])
        original = torch.tensor([(image.height, image.width) for image in part])
        found += detector.found(filled, sizes, original)
    start = 0
    for image, of_image in zip(images, views, strict=True):
        yield Answer(image, search.chosen(of_image, found[start : start + len(of_image)]))
        start += len(of_image)


class _Tables:
    """What was found in all pictures, as rows of a CSV file and in COCO's format."""

    def __init__(self, classes: Sequence[str], ids: Sequence[int | str]) -> None:
        self.classes, self.ids = classes, ids
        self.rows: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, shown: str, picture: str, answer: Answer, truth: Truth | None) -> None:
        """Adds the objects of a picture, which has the id and the name that a ground truth gives it."""
        number = len(self.images) + 1 if truth is None else truth.number
        size = {"width": answer.image.width, "height": answer.image.height}
        name = shown if truth is None else truth.file_name
        self.images.append({"id": number, "file_name": name, **size})
        columns = (answer.found[name].tolist() for name in ("scores", "labels", "boxes"))
        tracks = answer.found.get("tracks")
        for place, (score, label, (left, top, right, bottom)) in enumerate(
            zip(*columns, strict=True)
        ):
            track = None if tracks is None else int(tracks[place])
            sides = {"left": left, "top": top, "right": right, "bottom": bottom}
            self.rows.append(
                {
                    "file": shown,
                    "picture": picture,
                    "label": self.classes[label],
                    "score": f"{score:.6f}",
                    **{side: f"{value:.2f}" for side, value in sides.items()},
                    "track": track,
                }
            )
            width, height = right - left, bottom - top
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": number,
                    "category_id": self.ids[label],
                    "bbox": [round(value, 2) for value in (left, top, width, height)],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                    "score": round(score, 6),
                    **({} if track is None else {"track_id": track}),
                }
            )

    def save(self, folder: Path) -> None:
        """Writes all files."""
        with atomic_write(folder / "detections.csv", "w") as file:
            write_csv(file, COLUMNS, self.rows)
        categories = [
            {"id": number, "name": name}
            for number, name in zip(self.ids, self.classes, strict=True)
        ]
        content = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
        }
        with atomic_write(folder / "detections.json", "w") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
        names = ("image_id", "category_id", "bbox", "score")
        results = [{name: found[name] for name in names} for found in self.annotations]
        with atomic_write(folder / "results.json", "w") as file:
            json.dump(results, file, indent=1)
