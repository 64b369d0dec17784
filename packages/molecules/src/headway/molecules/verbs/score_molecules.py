"""Says what the molecules of files are like: a row for each, the metrics of MOSES and GuacaMol for all."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headway.core.cli.device import choose_device
from headway.core.cli.job import Job
from headway.core.cli.options import check_positive
from headway.core.cli.progress import progress_bar, with_progress
from headway.core.errors import UserError
from headway.molecules.data.readers import read_records
from headway.molecules.data.records import Record
from headway.molecules.metrics.guacamol import guacamol_metrics
from headway.molecules.metrics.moses import Description, describe, metrics_of, moses_reference
from headway.molecules.metrics.moses.description import COMPARED
from headway.molecules.metrics.moses.reference import Reference, reference_of
from headway.molecules.shipped import find_file, moses_file

COLUMNS = ("row", "id", "smiles", "valid", "canonical_smiles", *COMPARED, "scaffold", "passes")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway score-molecules``."""
    parser.add_argument(
        "file", type=Path, help=".smi, .csv, .tsv, .sdf or .parquet; what sample wrote"
    )
    parser.add_argument("--column", help="column of the SMILES (smiles)")
    parser.add_argument(
        "--moses", action="store_true", help="compare with the test sets of MOSES (molsets)"
    )
    parser.add_argument("--reference", metavar="FILE", help="compare with molecules of your own")
    parser.add_argument(
        "--guacamol",
        metavar="FILE",
        help="GuacaMol's scores, with this training set (a file, moses or nci)",
    )
    parser.add_argument(
        "--no-fcd", action="store_true", help="leave out FCD, which needs fcd_torch"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")


def run(args: argparse.Namespace) -> int:
    """Writes one row per molecule; returns 1 if none is valid.

    What is no molecule is a row whose ``valid`` is 0, and lowers the validity; ``--on-invalid skip`` leaves
    such rows out of the table alone.
    """
    check_positive(args, "workers")
    if args.moses and args.reference is not None:
        raise UserError("--moses and --reference are two references; give one")
    job = Job(args, None, items="molecules")
    records = list(with_progress(read_records(args.file, args.column), "reading"))
    if not records:
        raise UserError(f"{args.file} has no molecules")
    described = _described([one.smiles for one in records], "describing", args)
    device = str(choose_device(args.device))
    references = _references(args, device)
    shown = [
        pair
        for pair in zip(records, described, strict=True)
        if args.on_invalid != "skip" or pair[1] is not None
    ]
    job.table(COLUMNS, (row(*pair) for pair in shown))
    valid = [one for one in described if one is not None]
    facts: dict[str, Any] = {"molecules": len(records), "valid": len(valid) / len(records)}
    if valid and references:
        train = _train() if args.moses else None
        facts |= metrics_of(described, references, train=train, device=device, bar=progress_bar)
    if valid and args.guacamol is not None:
        facts |= _guacamol([one.smiles for one in records], args, device)
    said = [f"{name:12} {value:.4g}" for name, value in facts.items()]
    job.say("\n".join(said), facts)
    return 0 if valid else 1


def row(record: Record, one: Description | None) -> dict[str, Any]:
    """Returns the row of a molecule; of what is none, what stood in the file."""
    cells: tuple[Any, ...] = (record.row, record.id, record.smiles, int(one is not None))
    if one is None:
        cells += ("",) * (len(COLUMNS) - len(cells))
    else:
        numbers = (f"{value:.6g}" for value in one.properties)
        passed = "" if one.passes is None else int(one.passes)
        cells += (one.smiles, *numbers, one.scaffold or "", passed)
    return dict(zip(COLUMNS, cells, strict=True))


def _described(
    smiles: Sequence[str], word: str, args: argparse.Namespace
) -> list[Description | None]:
    # One process is this one.
    workers = 0 if args.workers == 1 else args.workers
    with progress_bar(word, total=len(smiles)) as advance:
        return describe(smiles, workers=workers, progress=advance)


def _references(args: argparse.Namespace, device: str) -> dict[str, Reference]:
    found: dict[str, Reference] = {}
    if args.moses:
        found = {"Test": moses_reference("test"), "TestSF": moses_reference("test_scaffolds")}
    elif args.reference is not None:
        smiles = [one.smiles for one in read_records(find_file(args.reference))]
        described = [one for one in _described(smiles, "reference", args) if one is not None]
        found = {"Test": reference_of(described, chemnet=not args.no_fcd, device=device)}
    if args.no_fcd:
        found = {name: one._replace(chemnet=None) for name, one in found.items()}
    return found


def _guacamol(smiles: Sequence[str], args: argparse.Namespace, device: str) -> dict[str, float]:
    return guacamol_metrics(
        smiles,
        [one.smiles for one in read_records(find_file(args.guacamol))],
        fcd=not args.no_fcd,
        workers=0 if args.workers == 1 else args.workers,
        device=device,
        bar=progress_bar,
    )


def _train() -> set[str]:
    return {one.smiles for one in read_records(moses_file("train"))}
