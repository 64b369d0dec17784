"""Writes a trained model as a file that runs without headway."""

import argparse
import importlib.util
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

from headway.core.cli.job import Job
from headway.core.cli.options import check_positive, refuse_to_overwrite
from headway.core.errors import UserError
from headway.core.files import atomic_write, staged_folder
from headway.core.finetune import merge
from headway.vision.data.preprocessing import MAX_SIDE
from headway.vision.verbs.graphs import (
    ClassifierGraph,
    DetectorGraph,
    ExportError,
    Graph,
    Run,
    SegmenterGraph,
    compare,
    write_onnx,
    write_program,
)
from headway.vision.verbs.loading import Detector, load_answering
from headway.vision.verbs.segmenting import LoadedSegmenter


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway export`` for pictures."""
    parser.description = (
        "Writes OUT.onnx (ONNX) or OUT.pt2 (torch.export), any batch size, and OUT.json with classes "
        "and preprocessing. A classifier answers with logits; those that also take any height and width: a "
        "detector with scores, labels and boxes, a segmenter with the scores of each pixel. What was "
        "written is run and compared with the model."
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="the one size of pictures that a detector or segmenter takes (any, where it can)",
    )
    parser.add_argument("--opset", type=int, default=18, help="ONNX operator set (18)")


def run(args: argparse.Namespace) -> int:
    """Exports, compares, and moves the files into place."""
    job = Job(args, "export")
    if args.out is None or args.out.suffix not in WRITERS:
        given = "nothing" if args.out is None else str(args.out)
        raise UserError(f"-o takes a file ending in {' or '.join(WRITERS)}, got {given}")
    out = Path(args.out)
    notes_file = out.with_suffix(".json")
    refuse_to_overwrite(notes_file, overwrite=args.overwrite)
    if out.suffix == ".onnx":
        need_onnx()
    check_positive(args, "size", most=MAX_SIDE)
    # A file that runs anywhere is written where every machine can.
    found = load_answering(args.checkpoint, "cpu")
    merge(found.model)
    if isinstance(found, Detector):
        graph = DetectorGraph(found, None if args.size is None else tuple(args.size))
    elif isinstance(found, LoadedSegmenter):
        graph = SegmenterGraph(found, None if args.size is None else tuple(args.size))
    elif args.size is not None:
        raise UserError(
            "--size is for detectors and segmenters; the model reads pictures of one size as it is"
        )
    else:
        graph = ClassifierGraph(found)
    with staged_folder(out.parent) as folder:
        exported = _quietly(WRITERS[out.suffix], graph, folder / out.name, args.opset)
        differences = compare(graph, exported)
        with atomic_write(folder / notes_file.name, "w") as file:
            json.dump(graph.notes, file, indent=2, ensure_ascii=False)
    shape = ", ".join(str(side) for side in graph.input_shape())
    lines = [
        f"{out}: {out.stat().st_size / 2**20:.1f} MiB, images ({shape}) -> {', '.join(graph.outputs)}"
    ]
    for images, difference in differences.items():
        lines.append(f"checked with images {images}: largest difference {difference:.2g}")
    lines.append(f"{notes_file}: classes and preprocessing")
    job.say("\n".join(lines), {"notes": str(notes_file), "differences": differences}, aloud=True)
    return 0


def need_onnx() -> None:
    """Raises if what writes and runs ONNX is not installed."""
    names = ("onnx", "onnxscript", "onnxruntime")
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f'ONNX needs {", ".join(missing)}, not installed: pip install "headway[export]"'
        )


WRITERS = {".onnx": write_onnx, ".pt2": write_program}


def _quietly(
    writer: Callable[[Graph, Path, int], Run], graph: Graph, path: Path, opset: int
) -> Run:
    """Runs a writer without the exporters' advice to their developers, and shortens their errors."""
    remedy = "; --size HEIGHT WIDTH exports one size alone" if len(graph.free) > 1 else ""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return writer(graph, path, opset)
    except OSError:
        raise
    except UserError as error:
        raise UserError(f"{error}{remedy}") from None
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        raise ExportError(
            f"{type(error).__name__} while exporting: {first.strip()}; nothing was written{remedy}"
        ) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
