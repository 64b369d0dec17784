"""Gives each pixel of pictures a class: masks, pictures with masks over them, and tables of shares."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.options import check_positive
from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.core.files import atomic_write, write_csv
from headway.vision.data.mask_classes import MaskClasses
from headway.vision.data.reading import ImageError
from headway.vision.mask_drawing import draw_mask
from headway.vision.verbs.exported import segmenter_from
from headway.vision.verbs.inputs import Item, add_input_options, find_items, free_name, read_item
from headway.vision.verbs.search import add_view_options
from headway.vision.verbs.segmenting import Looking, ReadySegmenter, Segmented, segmented

COLUMNS = ("file", "picture", "mask", "class", "id", "pixels", "share", "score", "error")
PICTURES, MASKS = "pictures", "masks"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway segment``."""
    parser.description = (
        "Writes into the folder OUT masks/ (PNGs of the ids that classes have in the data, as large as "
        "their pictures), pictures/ (each with its mask over it and a legend), segments.csv (one row per "
        "picture and class that is in it: pixels, their share, the mean score) and segments.json (the same "
        "in the form of COCO's panoptic annotations). Pictures may have any size."
    )
    add_input_options(parser, batch_size=4)
    add_view_options(
        parser, "cut larger pictures into tiles of this side, in the place of the whole"
    )
    parser.add_argument(
        "--opacity", type=float, default=0.55, help="of the drawn colours, in 0..1 (0.55)"
    )


def run(args: argparse.Namespace) -> int:
    """Writes masks, pictures and tables; returns 1 if no picture could be read."""
    check_positive(args, "batch_size")
    job = Job(args, "segment with", items="pictures", out="folder")
    looking = Looking(
        tile=args.tile, overlap=args.overlap, mirror=args.mirror, batch_size=args.batch_size
    )
    if not 0 <= args.opacity <= 1:
        raise UserError(f"--opacity {args.opacity:g} is outside [0, 1]")
    items, job.counts.ignored = find_items(args.inputs)
    segmenter = segmenter_from(args.checkpoint, args.device)
    tables, taken = _Tables(segmenter.classes), set[str]()
    answers = segment(
        segmenter, items, looking=looking, on_invalid=args.on_invalid, counts=job.counts
    )
    with job.folder() as folder:
        for item, answer in answers:
            if isinstance(answer, ImageError):
                tables.rows.append({"file": item.shown, "error": answer.reason})
                continue
            name = free_name(item.name, taken)
            labels = answer.labels.numpy()
            drawn = draw_mask(answer.image, labels, segmenter.classes, opacity=args.opacity)
            mask = segmenter.classes.mask(labels)
            for part, image in ((PICTURES, drawn), (MASKS, mask)):
                with atomic_write(folder / part / name) as file:
                    image.save(file, format="PNG")
            tables.add(item.shown, name, answer)
        tables.save(folder)
    return job.end(f"pictures segmented{job.place}", pictures=job.counts.done)


def segment(
    segmenter: ReadySegmenter,
    items: Sequence[Item],
    *,
    looking: Looking | None = None,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
) -> Iterator[tuple[Item, Segmented | ImageError]]:
    """Yields the classes of the pixels of each picture, in the order of the items.

    Args:
        segmenter: The model.
        items: The pictures.
        looking: How pictures are looked at; as a whole if None.
        on_invalid: ``raise`` stops at a picture that cannot be read, ``skip`` leaves it out, ``keep`` yields
            its error.
        counts: Is told what became of each picture.
    """
    counts, looking = counts or Counts("pictures"), looking or Looking()
    bits = segmenter.preprocessing.bits
    starts = range(0, len(items), looking.batch_size)
    for start in with_progress(starts, "segmenting"):
        batch = items[start : start + looking.batch_size]
        images = [read_item(item, bits=bits) for item in batch]
        whole = [image for image in images if not isinstance(image, ImageError)]
        answers = iter(segmented(segmenter, whole, looking))
        for item, image in zip(batch, images, strict=True):
            if isinstance(image, ImageError):
                counts.refuse(image, on_invalid)
                if on_invalid == "keep":
                    yield item, image
            else:
                counts.done += 1
                yield item, next(answers)


class _Tables:
    """The classes of all pictures, as rows of a CSV file and in COCO's format."""

    def __init__(self, classes: MaskClasses) -> None:
        self.classes = classes
        self.rows: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, shown: str, picture: str, answer: Segmented) -> None:
        """Adds the classes of a picture, those of most pixels first."""
        height, width = answer.labels.shape
        number = len(self.images) + 1
        self.images.append({"id": number, "file_name": shown, "width": width, "height": height})
        labels, scores = answer.labels.flatten(), answer.scores.flatten().double()
        pixels = labels.bincount(minlength=len(self.classes))
        sure = labels.bincount(scores, minlength=len(self.classes)) / pixels.clamp_min(1)
        segments = []
        for place in pixels.argsort(descending=True, stable=True).tolist():
            area = int(pixels[place])
            if not area:
                break
            share, score = area / labels.numel(), float(sure[place])
            self.rows.append(
                {
                    "file": shown,
                    "picture": f"{PICTURES}/{picture}",
                    "mask": f"{MASKS}/{picture}",
                    "class": self.classes.names[place],
                    "id": self.classes.ids[place],
                    "pixels": area,
                    "share": f"{share:.6f}",
                    "score": f"{score:.6f}",
                }
            )
            segments.append(
                {
                    "id": self.classes.ids[place],
                    "category_id": self.classes.ids[place],
                    "area": area,
                    "share": round(share, 6),
                    "score": round(score, 6),
                }
            )
        self.annotations.append(
            {"image_id": number, "file_name": f"{MASKS}/{picture}", "segments_info": segments}
        )

    def save(self, folder: Path) -> None:
        """Writes both files."""
        with atomic_write(folder / "segments.csv", "w") as file:
            write_csv(file, COLUMNS, self.rows)
        known = zip(self.classes.ids, self.classes.names, self.classes.colours, strict=True)
        categories = [
            {"id": number, "name": name, "color": list(colour)} for number, name, colour in known
        ]
        content = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
        }
        with atomic_write(folder / "segments.json", "w") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
