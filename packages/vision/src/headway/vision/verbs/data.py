"""Says what pictures with boxes are like, and what is wrong with them, before anybody trains on them."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headway.core.cli.job import Job
from headway.core.cli.options import add_plot
from headway.core.cli.progress import with_progress
from headway.vision.box_figures import data_figure
from headway.vision.data.checking import Report, by_kind, check_data

COLUMNS = ("kind", "name", "reason")

SHOWN = 3
"""Findings of a kind that are said; all of them go into the file of ``-o``."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway data``."""
    parser.description = (
        "check: reads the annotations of a folder (COCO's .json, Pascal VOC's .xml, YOLO's .txt) as training "
        "does, decodes every picture, and says classes, sizes of boxes, and what is wrong. The result is 1 "
        "if there is something that training refuses. -o takes a CSV file for all findings."
    )
    parser.add_argument("action", choices=("check",), help="what to do with the data")
    parser.add_argument(
        "path",
        type=Path,
        help="the folder of pictures and annotations, COCO's .json or YOLO's .yaml",
    )
    parser.add_argument(
        "--format", choices=("coco", "voc", "yolo"), help="of the annotations (as they look)"
    )
    parser.add_argument(
        "--boxes",
        choices=("xywh", "xyxy"),
        help="what COCO's bbox is: left, top, width, height or left, top, right, bottom (as it looks)",
    )
    add_plot(parser, "classes, sizes of boxes and some pictures with theirs")


def run(args: argparse.Namespace) -> int:
    """Prints the report; returns 1 if training would refuse something."""
    job = Job(args, None, items="pictures", extra=("plot",))
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
    sizes = sorted({p.size for part in report.parts.values() for p in part.pictures})
    shown = " .. ".join(
        f"{width}x{height}" for height, width in dict.fromkeys(sizes[:: max(1, len(sizes) - 1)])
    )
    lines = [f"{report.path}: {report.format}, pictures of {shown} pixels", ""]
    lines += [*_table(report.splits()), "", *_table(report.per_class())]
    for row in report.per_class():
        if not row["train"]:
            lines.append(f"{row['class']} has no box in train: it will not be found")
    lines.append("")
    for kind, found in by_kind(report.findings).items():
        lines.append(f"{kind}: {len(found)}")
        lines += [f"  {one.name}: {one.reason}" for one in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"  and {len(found) - SHOWN} more")
    refused = len(report.refused())
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
