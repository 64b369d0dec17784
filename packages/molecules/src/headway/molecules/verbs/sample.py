"""Generates molecules, writes them as a table, and draws some."""

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import IO

import torch

from headway.core.cli.counts import Counts, check_positive, check_seed
from headway.core.cli.device import choose_device
from headway.core.cli.output import TableOutput
from headway.core.cli.progress import progress_bar, with_progress
from headway.core.cli.verbs import refuse_to_overwrite
from headway.core.errors import InputError, UserError
from headway.core.generation import Generated, Sampling
from headway.core.weights import from_pretrained
from headway.molecules.chemistry import canonical, checked
from headway.molecules.data.reading import read_smiles
from headway.molecules.data.shipped import find_file
from headway.molecules.data.tokenizer import SmilesTokenizer
from headway.molecules.metrics import Quality, measure
from headway.molecules.models import Llama

COLUMNS = ("smiles", "nll", "valid", "canonical_smiles")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway sample``."""
    parser.add_argument("-n", "--count", type=int, default=100, help="molecules (100)")
    parser.add_argument("--prefix", default="", help="SMILES that every molecule begins with")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (1.0)")
    parser.add_argument("--top-k", type=int, help="draw from the k most likely tokens only")
    parser.add_argument("--top-p", type=float, help="draw from the most likely mass only")
    parser.add_argument("--seed", type=int, default=0, help="of the random draws (0)")
    parser.add_argument("--batch-size", type=int, default=256, help="molecules at a time (256)")
    parser.add_argument("--grid", type=Path, metavar="PNG", help="picture of the first valid ones")
    parser.add_argument("--columns", type=int, default=5, help="molecules of a row of it (5)")
    parser.add_argument("--rows", type=int, default=4, help="rows of it (4)")
    parser.add_argument(
        "--reference",
        metavar="FILE",
        help="training molecules (.smi, .csv, .gz, moses, nci), for the novelty",
    )


def run(args: argparse.Namespace) -> int:
    """Writes one row per molecule; returns 1 if none is valid."""
    check_positive(args, "count", "batch_size", "columns", "rows")
    check_seed(args.seed)
    if args.checkpoint is None:
        raise UserError("sample from what? -m takes a run folder, a checkpoint or a hub id")
    refuse_to_overwrite(args.grid, overwrite=args.overwrite)
    sampling = Sampling(temperature=args.temperature, top_k=args.top_k, top_p=args.top_p)
    counts = Counts("reference molecules")
    reference = None if args.reference is None else read_reference(args, counts)
    model, tokenizer = load(args.checkpoint, args.device)
    prompt = tokenizer.encode(args.prefix, "--prefix")[:-1]
    start, clock = time.monotonic(), time.process_time()
    found = sample(model, [prompt] * args.count, sampling, args.seed, args.batch_size)
    seconds, cpu = time.monotonic() - start, time.process_time() - clock
    smiles = [tokenizer.decode(row) for row in found.tokens.tolist()]
    quality = measure(smiles, reference)
    output = TableOutput(args)
    with output.file() as file:
        write(file, smiles, found, quality)
    if args.grid is not None:
        draw(args, quality)
    report(output, found, quality, seconds, cpu, counts)
    return 0 if quality.validity else 1


def load(source: str, device: str | None) -> tuple[Llama, SmilesTokenizer]:
    """Returns a model ready to generate, and the tokenizer that belongs to it."""
    model = from_pretrained(source)
    if not isinstance(model, Llama):
        raise UserError(f"{source} is a {type(model).__name__}, which generates no molecules")
    model.eval().to(choose_device(device))
    return model, SmilesTokenizer(model.vocabulary, start=model.start, end=model.end)


def sample(
    model: Llama, prompts: list[list[int]], sampling: Sampling, seed: int, batch_size: int
) -> Generated:
    """Generates with a bar of what has ended."""
    place = model.embedding.weight.device
    generator = torch.Generator(place).manual_seed(seed)
    with progress_bar("generating", total=len(prompts)) as advance:
        return model.generate(
            prompts,
            sampling=sampling,
            batch_size=batch_size,
            generator=generator,
            progress=advance,
        )


def read_reference(args: argparse.Namespace, counts: Counts) -> set[str]:
    """Returns the canonical SMILES of the reference, written by the RDKit of today."""
    known: set[str] = set()
    file = find_file(args.reference)
    rows = list(read_smiles(file))
    for row in with_progress(rows, "reading"):
        found = canonical(row.smiles)
        if found is not None:
            known.add(found)
            continue
        name = f"{file.name}, row {row.number}"
        try:
            checked(row.smiles, name)
        except InputError as error:
            counts.refuse(error, args.on_invalid)
    return known


def write(file: IO[str], smiles: list[str], found: Generated, quality: Quality) -> None:
    """Writes the table as CSV."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for text, gained, known in zip(
        smiles, found.log_likelihoods.tolist(), quality.canonical, strict=True
    ):
        writer.writerow((text, f"{-gained:.4f}", int(known is not None), known or ""))


def draw(args: argparse.Namespace, quality: Quality) -> None:
    """Draws the first different valid molecules."""
    from headway.molecules.pictures import save_grid

    valid = list(dict.fromkeys(text for text in quality.canonical if text))
    if valid:
        save_grid(valid[: args.columns * args.rows], args.grid, columns=args.columns)


def report(
    output: TableOutput,
    found: Generated,
    quality: Quality,
    seconds: float,
    cpu: float,
    counts: Counts,
) -> None:
    """Says what was generated and what it is worth."""
    said = {
        "generated": len(found.tokens),
        "ended_by_themselves": int(found.finished.sum()),
        "validity": round(quality.validity, 4),
        "uniqueness": round(quality.uniqueness, 4),
        "novelty": None if quality.novelty is None else round(quality.novelty, 4),
        "molecules_per_second": round(len(found.tokens) / max(seconds, 1e-9), 1),
        "molecules_per_cpu_second": round(len(found.tokens) / max(cpu, 1e-9), 1),
    }
    if output.as_json:
        output.say({**said, "reference": counts.as_dict()})
        return
    if counts.invalid:
        print(
            f"{len(counts.invalid)} reference rows not read, first: {counts.invalid[0]}",
            file=sys.stderr,
        )
    shown = ", ".join(
        f"{key.replace('_', ' ')} {value}" for key, value in said.items() if value is not None
    )
    print(shown, file=sys.stderr)
