"""Says what pictures with boxes or masks are like, and what is wrong with them, before anybody trains."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headway.core.cli.job import Job
from headway.core.cli.options import add_plot
from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.vision.box_figures import data_figure
from headway.vision.data.checking import Finding, Report, by_kind, check_data
from headway.vision.data.layouts import recognise, unwrapped
from headway.vision.data.mask_checking import check_masks
from headway.vision.data.mask_layouts import find_pairs
from headway.vision.mask_figures import masks_figure

COLUMNS = ("kind", "name", "reason")

SHOWN = 3
"""Findings of a kind that are said; all of them go into the file of ``-o``."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway data``."""
    parser.description = (
        "check: reads the annotations of a folder (COCO's .json, Pascal VOC's .xml, YOLO's .txt, or masks) "
        "as training does, decodes every picture, and says classes, sizes of boxes or shares of pixels, and "
        "what is wrong. The result is 1 if there is something that training refuses. -o takes a CSV file for "
        "all findings."
    )
    parser.add_argument("action", choices=("check",), help="what to do with the data")
    parser.add_argument(
        "path",
        type=Path,
        help="the folder of pictures and annotations, COCO's .json or YOLO's .yaml",
    )
    parser.add_argument(
        "--format",
        choices=("coco", "voc", "yolo", "masks"),
        help="of the annotations (as they look; boxes where there are boxes and masks)",
    )
    parser.add_argument(
        "--boxes",
        choices=("xywh", "xyxy"),
        help="what COCO's bbox is: left, top, width, height or left, top, right, bottom (as it looks)",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="of masks: names in the order of the ids, or one file of names with ids or colours",
    )
    parser.add_argument(
        "--ignore",
        nargs="+",
        metavar="ID",
        help="of masks: ids, or names of classes, of pixels that do not count (255)",
    )
    add_plot(parser, "classes, sizes of boxes or shares of pixels, and some pictures with theirs")


def run(args: argparse.Namespace) -> int:
    """Prints the report; returns 1 if training would refuse something."""
    job = Job(args, None, items="pictures", extra=("plot",))
    if args.format == "masks" or (args.format is None and only_masks(args.path.expanduser())):
        return _check_masks(args, job)
    report = check_data(
        args.path.expanduser(),
        format=args.format,
        boxes=args.boxes,
        bar=lambda pictures: with_progress(pictures, "decoding"),
    )
    if job.path is not None:
        job.table(COLUMNS, (one._asdict() for one in report.findings))
    if args.plot is not None:
        job.draw(data_figure, report)
    job.say("\n".join(_lines(report)), _facts(report), aloud=True)
    return 1 if report.refused() else 0


def only_masks(path: Path) -> bool:
    """Returns whether a folder has masks and no boxes.

    Raises:
        UserError: If it has neither, or boxes of several formats.
    """
    if not path.is_dir():
        return False
    try:
        recognise(unwrapped(path))
    except UserError as no_boxes:
        try:
            return bool(find_pairs(path).parts)
        except UserError as no_masks:
            raise UserError(f"{no_boxes}; and as for masks, {no_masks}") from None
    return False


def _check_masks(args: argparse.Namespace, job: Job) -> int:
    given = args.classes
    if given is not None and len(given) == 1 and Path(given[0]).suffix:
        given = given[0]
    ignore = None
    if args.ignore is not None:
        ignore = [int(one) if one.isdigit() else one for one in args.ignore]
    report = check_masks(
        args.path.expanduser(),
        class_names=given,
        ignore=ignore,
        bar=lambda pairs: with_progress(pairs, "decoding"),
    )
    if job.path is not None:
        job.table(COLUMNS, (one._asdict() for one in report.findings))
    if args.plot is not None:
        job.draw(masks_figure, report)
    facts = {
        "path": str(report.path),
        "format": "masks",
        "splits": report.splits(),
        "classes": report.per_class(),
        "findings": [one._asdict() for one in report.findings],
        "usable": not report.refused(),
    }
    sizes = [one.size for found in report.pictures.values() for one in found]
    lines = [_head(report.path, "masks", sizes), "", *_table(report.splits())]
    lines += ["", "share of the pixels that count, and pictures:", *_table(report.per_class())]
    if not report.named:
        lines.append(
            "nobody names the classes: training needs --data.class_names (here: --classes)"
        )
    lines += ["", *_wrong(report.findings, len(report.refused()))]
    job.say("\n".join(lines), facts, aloud=True)
    return 1 if report.refused() else 0


def _facts(report: Report) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "format": report.format,
        "splits": report.splits(),
        "classes": report.per_class(),
        "findings": [one._asdict() for one in report.findings],
        "usable": not report.refused(),
    }


def _lines(report: Report) -> list[str]:
    sizes = [p.size for part in report.parts.values() for p in part.pictures]
    lines = [_head(report.path, report.format, sizes), ""]
    lines += [*_table(report.splits()), "", *_table(report.per_class())]
    for row in report.per_class():
        if not row["train"]:
            lines.append(f"{row['class']} has no box in train: it will not be found")
    return [*lines, "", *_wrong(report.findings, len(report.refused()))]


def _head(path: Path, kind: str, sizes: Iterable[tuple[int, int]]) -> str:
    known = sorted(set(sizes))
    shown = " .. ".join(
        f"{width}x{height}" for height, width in dict.fromkeys(known[:: max(1, len(known) - 1)])
    )
    return f"{path}: {kind}, pictures of {shown or 'no'} pixels"


def _wrong(findings: Sequence[Finding], refused: int) -> list[str]:
    lines = []
    for kind, found in by_kind(findings).items():
        lines.append(f"{kind}: {len(found)}")
        lines += [f"  {one.name}: {one.reason}" for one in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"  and {len(found) - SHOWN} more")
    if refused:
        lines.append(
            f"training refuses {refused} of these; mend them, or leave them out with "
            "--data.on_invalid skip"
        )
    else:
        lines.append("nothing that training refuses")
    return lines


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns rows with their columns below each other."""
    cells = [[name.replace("_", " ") for name in rows[0]]]
    cells += [[str(value) for value in row.values()] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    return [
        "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
