"""Predicts properties of the molecules of a file and writes a table; several runs say how sure they are."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import add_batch_size, check_positive
from headway.core.cli.progress import with_progress
from headway.core.errors import InputError, UserError
from headway.molecules.data.readers import read_records
from headway.molecules.data.records import Record
from headway.molecules.models import Predictor
from headway.molecules.reading import Item, Member, size
from headway.molecules.shipped import find_file

MANY_CHECKPOINTS = True
# A table of a user's molecules is answered row by row; what is no molecule says so in its row.
ON_INVALID = "keep"
AT_ONCE = 16  # batches that are sorted by length together


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway predict`` for molecules."""
    parser.add_argument(
        "--data", required=True, metavar="FILE", help=".smi, .csv, .tsv, .sdf or .parquet, .gz"
    )
    parser.add_argument("--column", help="column of the SMILES (smiles)")
    parser.add_argument("--id-column", help="column of the names (id or name)")
    add_batch_size(parser, 64, "molecules")


def run(args: argparse.Namespace) -> int:
    """Writes one row per molecule, in the order of the file; returns 1 if none could be read."""
    check_positive(args, "batch_size")
    job = Job(args, "predict with", items="molecules")
    ensemble = load(args.checkpoint, args.device)
    file = find_file(args.data)
    records = read_records(file, args.column, id_column=args.id_column)
    rows = predict(
        ensemble,
        with_progress(records, "predicting"),
        file=file.name,
        batch_size=args.batch_size,
        on_invalid=args.on_invalid,
        counts=job.counts,
    )
    job.table(columns(ensemble), rows)
    return job.end(f"molecules predicted{job.place}", predicted=job.counts.done)


def load(sources: Sequence[str], device: str | None) -> list[Member]:
    """Returns the models, which must say the same properties.

    Raises:
        UserError: If they do not, or one is no such model.
    """
    hint = (
        "which predicts no properties; train one with headway fit -c molecules/finetune_properties"
    )
    found: list[Member] = []
    for source in sources:
        model, _ = load_model(source, device, Predictor, hint)
        if not model.properties:
            raise UserError(f"{source} was not trained to predict any property")
        first = found[0].model if found else model
        if model.properties != first.properties:
            raise UserError(
                f"{source} predicts {', '.join(model.properties)}, and {sources[0]} "
                f"{', '.join(first.properties)}; runs that answer together have the same properties"
            )
        found.append(Member.of(model, source))
    return found


def columns(ensemble: Sequence[Member]) -> list[str]:
    """Returns the columns of the table."""
    names = list(ensemble[0].model.properties)
    return ["row", "id", "smiles", *names, *_spreads(ensemble, names), "error"]


def predict(
    ensemble: Sequence[Member],
    records: Iterable[Record],
    *,
    file: str = "molecules",
    batch_size: int = 64,
    on_invalid: Policy = "keep",
    counts: Counts | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields one row per molecule, in the order of the records.

    Several models answer with their mean and their deviation (``<property>_std``): how far the runs disagree,
    which is what they have not learned; noise of the labels is no part of it.

    Args:
        ensemble: The models, of one set of properties.
        records: The molecules.
        file: Named in messages.
        batch_size: Molecules of a batch.
        on_invalid: ``raise`` stops at what cannot be read, ``skip`` leaves its row out, ``keep`` writes a row
            with the reason and no values.
        counts: Is told what became of each.

    Source:
        Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474, section 2.4.
    """
    counts, names = counts or Counts("molecules"), list(ensemble[0].model.properties)
    spreads, every = _spreads(ensemble, names), iter(records)
    while some := list(islice(every, AT_ONCE * batch_size)):
        found = [_read(ensemble, record, file) for record in some]
        answers = _answers(
            ensemble, [one for one in found if not isinstance(one, InputError)], batch_size
        )
        for record, one in zip(some, found, strict=True):
            row: dict[str, Any] = {"row": record.row, "id": record.id, "smiles": record.smiles}
            if isinstance(one, InputError):
                counts.refuse(one, on_invalid)
                if on_invalid == "keep":
                    yield {**row, "error": one.reason}
                continue
            counts.done += 1
            mean, spread = next(answers)
            values = [*zip(names, mean, strict=True), *zip(spreads, spread, strict=False)]
            yield {**row, **{name: f"{value:.6g}" for name, value in values}}


def _spreads(ensemble: Sequence[Member], names: list[str]) -> list[str]:
    return [f"{name}_std" for name in names] if len(ensemble) > 1 else []


def _read(ensemble: Sequence[Member], record: Record, file: str) -> list[Item] | InputError:
    """Returns a molecule as each model reads it, or what is wrong with it."""
    try:
        return [one.reader.read(record.smiles, f"{file}, row {record.row}") for one in ensemble]
    except InputError as error:
        return error


@torch.inference_mode()
def _answers(
    ensemble: Sequence[Member], molecules: list[list[Item]], batch_size: int
) -> Iterator[tuple[list[float], list[float]]]:
    """Returns mean and deviation of the answers, in the order of the molecules."""
    order = sorted(range(len(molecules)), key=lambda place: size(molecules[place][0]))
    each = torch.zeros(len(ensemble), len(molecules), len(ensemble[0].model.properties))
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        for number, member in enumerate(ensemble):
            each[number, places] = member.answer([molecules[place][number] for place in places])
    spread = each.std(dim=0, correction=0)
    return iter(zip(each.mean(dim=0).tolist(), spread.tolist(), strict=True))
