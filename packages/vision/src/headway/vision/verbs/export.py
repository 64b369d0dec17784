"""Writes a trained classifier as a file that runs without headway."""

import argparse
import importlib.util
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.cli.job import Job
from headway.core.cli.options import refuse_to_overwrite
from headway.core.errors import UserError
from headway.core.files import atomic_write, staged_folder
from headway.core.finetune import merge
from headway.vision.verbs.loading import Classifier, load_classifier

# Of the largest logit; float32 sums in another order differ by a hundredth of this.
TOLERANCE = 1e-3
BATCHES = (1, 3)

Run = Callable[[Tensor], Tensor]


class ExportError(RuntimeError):
    """A model could not be exported, or what was written computes something else."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway export`` for image classifiers."""
    parser.description = (
        "Writes OUT.onnx (ONNX) or OUT.pt2 (torch.export), any batch size, and OUT.json with classes "
        "and preprocessing. What was written is run and compared with the model."
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
    # A file that runs anywhere is written where every machine can.
    classifier = load_classifier(args.checkpoint, "cpu")
    merge(classifier.model)
    notes = describe(classifier)
    size = classifier.preprocessing.input_size
    with staged_folder(out.parent) as folder:
        writer = WRITERS[out.suffix]
        exported = _quietly(writer, classifier.model, size, notes, folder / out.name, args.opset)
        differences = compare(classifier.model, exported, size)
        with atomic_write(folder / notes_file.name, "w") as file:
            json.dump(notes, file, indent=2, ensure_ascii=False)
    lines = [
        f"{out}: {out.stat().st_size / 2**20:.1f} MiB, images (batch, {_join(size)}) -> logits"
    ]
    for batch, difference in differences.items():
        lines.append(f"checked with a batch of {batch}: largest difference {difference:.2g}")
    lines.append(f"{notes_file}: classes and preprocessing")
    job.say("\n".join(lines), {"notes": str(notes_file), "differences": differences}, aloud=True)
    return 0


def describe(classifier: Classifier) -> dict[str, Any]:
    """Returns what a user of the file must know, as JSON values."""
    return {
        "input": {"name": "images", "shape": ["batch", *classifier.preprocessing.input_size]},
        "output": {
            "name": "logits",
            "activation": "sigmoid" if classifier.multi_label else "softmax",
        },
        "classes": None if classifier.classes is None else list(classifier.classes),
        "multi_label": classifier.multi_label,
        **classifier.preprocessing.as_dict(),
    }


def need_onnx() -> None:
    """Raises if what writes and runs ONNX is not installed."""
    names = ("onnx", "onnxscript", "onnxruntime")
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f'ONNX needs {", ".join(missing)}, not installed: pip install "headway[export]"'
        )


def compare(model: nn.Module, exported: Run, size: tuple[int, int, int]) -> dict[int, float]:
    """Returns the largest difference between a model and its export for several batch sizes.

    Raises:
        ExportError: If they do not agree.
    """
    differences = {}
    generator = torch.Generator().manual_seed(0)
    for batch in BATCHES:
        images = torch.randn(batch, *size, generator=generator)
        with torch.inference_mode():
            expected = model(images)
        found = exported(images)
        if found.shape != expected.shape:
            raise ExportError(
                f"the exported model answers {tuple(found.shape)} to a batch of {batch}, "
                f"the model {tuple(expected.shape)}; nothing was written"
            )
        differences[batch] = (found - expected).abs().max().item()
        limit = TOLERANCE * max(1.0, expected.abs().max().item())
        # Written so that NaN fails, too.
        if not differences[batch] <= limit:
            raise ExportError(
                f"the exported model differs by {differences[batch]:.2g} from the model (batch of "
                f"{batch}, limit {limit:.2g}); nothing was written"
            )
    return differences


def write_program(
    model: nn.Module, size: tuple[int, int, int], notes: dict[str, Any], path: Path, opset: int
) -> Run:
    """Writes with ``torch.export`` and returns what the file computes."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(
        model, (torch.zeros(2, *size),), dynamic_shapes=({0: batch},), strict=False
    )
    torch.export.save(program, path, extra_files={"preprocessing.json": json.dumps(notes)})
    loaded = torch.export.load(path).module()

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return loaded(images)

    return run


def write_onnx(
    model: nn.Module, size: tuple[int, int, int], notes: dict[str, Any], path: Path, opset: int
) -> Run:
    """Writes ONNX with its notes as metadata and returns what the file computes."""
    import onnxruntime

    program = torch.onnx.export(
        model,
        (torch.zeros(2, *size),),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        opset_version=opset,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props["headway"] = json.dumps(notes, ensure_ascii=False)
    program.save(path)
    # By its path: weights of more than 2 GiB lie in a file beside it.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    return run


WRITERS = {".onnx": write_onnx, ".pt2": write_program}


def _quietly(writer: Callable[..., Run], *arguments: Any) -> Run:
    """Runs a writer without the exporters' advice to their developers, and shortens their errors."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return writer(*arguments)
    except (OSError, UserError):
        raise
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        raise ExportError(
            f"{type(error).__name__} while exporting: {first.strip()}; nothing was written"
        ) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _join(size: tuple[int, int, int]) -> str:
    return ", ".join(str(side) for side in size)
