"""Generates molecules, writes them as a table, and draws some."""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from headway.core.cli.counts import Counts
from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import check_positive, check_seed
from headway.core.cli.progress import progress_bar, with_progress
from headway.core.errors import InputError, UserError
from headway.core.generation import Generated, Redrawn, Sampling, redraw
from headway.core.language import LanguageModel
from headway.molecules.chemistry import canonical, checked
from headway.molecules.data.readers import read_records
from headway.molecules.metrics import Quality, measure
from headway.molecules.models import DrugGen
from headway.molecules.notation import is_molecular, repaired, smiles_tokenizer
from headway.molecules.shipped import find_file
from headway.molecules.verbs.acceptance import accepts, add_acceptance, processors, read_wanted
from headway.molecules.verbs.conditions import (
    add_conditions,
    cells,
    columns,
    conditions,
    nearness,
    read_wishes,
)
from headway.molecules.verbs.filling import add_filling, filling, kept_prompts, share_kept
from headway.molecules.verbs.targets import add_protein, read_proteins, targeted, told_proteins

COLUMNS = ("smiles", "nll", "valid", "canonical_smiles")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway sample``."""
    parser.add_argument("-n", "--count", type=int, help="molecules (100)")
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
        help="training molecules (.smi, .csv, .sdf, .parquet, .gz, moses, nci), for the novelty",
    )
    add_protein(parser)
    add_acceptance(parser)
    add_conditions(parser)
    add_filling(parser)


def run(args: argparse.Namespace) -> int:
    """Writes one row per molecule; returns 1 if none is valid."""
    check_positive(args, "batch_size", "columns", "rows", "most_draws")
    check_seed(args.seed)
    proteins = read_proteins(args)
    wishes, wanted = read_wishes(args), read_wanted(args)
    if proteins is not None and wishes is not None:
        raise UserError(
            "--protein is for a DrugGen, --condition and --fragment are for a LLamol; give one"
        )
    job = Job(args, "sample from", items="reference molecules", extra=["grid"])
    reference = None if args.reference is None else read_reference(args, job.counts)
    model = load(args.checkpoint, args.device)
    if proteins is not None:
        model = targeted(model, args.checkpoint)
        proteins = told_proteins(proteins, model, job.counts, args.on_invalid)
    molecular = is_molecular(model.tokenizer)
    if not molecular and (args.grid is not None or reference is not None or wanted is not None):
        raise UserError(
            "--grid, --reference and what is to be kept are for molecules; the model writes another notation"
        )
    sampling = Sampling(
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        processors=processors(args, model),
    )
    told = {} if wishes is None else conditions(wishes, model, args)
    told |= filling(args, model)
    about = [name for name in proteins or () for _ in range(args.count)]
    if proteins is not None and isinstance(model, DrugGen):
        told |= model.told([proteins[name] for name in about], about)
    generator = torch.Generator().manual_seed(args.seed)
    prompts = kept_prompts(args, model, generator)
    if prompts is None:
        prompt = model.tokenizer.prompt(args.prefix, "--prefix")
        count = len(about) or (args.count if wishes is None else len(wishes.names))
        prompts = [prompt] * count
    start, clock = time.monotonic(), time.process_time()
    keeps = accepts(wanted, model)
    found, accepted, draws = sample(args, model, prompts, sampling, told, keeps, generator)
    seconds, cpu = time.monotonic() - start, time.process_time() - clock
    smiles = [model.tokenizer.decode(row) for row in found.tokens.tolist()]
    if args.repair:
        smiles = [repaired(text) for text in smiles]
    quality = measure(smiles, reference) if molecular else measure(smiles, read=as_it_is)
    found_rows = zip(
        rows(smiles, found, quality, molecular), cells(wishes, quality, molecular), strict=True
    )
    if proteins is None:
        job.table([*COLUMNS, *columns(wishes)], (one | other for one, other in found_rows))
    else:
        named = zip(found_rows, about, strict=True)
        job.table(["protein", *COLUMNS], ({"protein": name, **one} for (one, _), name in named))
    if args.grid is not None:
        draw(args, quality)
    facts = worth(found, quality, seconds, cpu) | nearness(wishes, quality, molecular)
    if proteins is not None:
        facts["proteins"] = len(proteins)
    if wanted is not None:
        facts |= {"drawn": draws, "given_up": int((~accepted).sum())}
    if args.keep:
        facts["with_fragments"] = share_kept(quality.canonical, args.keep)
    if not molecular:
        del facts["validity"]  # of a notation that nobody here can read
    said = [f"{key.replace('_', ' ')} {value}" for key, value in facts.items() if value is not None]
    lines = [", ".join(said)]
    if job.counts.invalid:
        what = "reference rows" if reference is not None else "proteins"
        lines.insert(
            0, f"{len(job.counts.invalid)} {what} not read, first: {job.counts.invalid[0]}"
        )
    job.say("\n".join(lines), {**facts, "reference": job.counts.as_dict()})
    return 0 if quality.validity else 1


def load(source: str, device: str | None) -> LanguageModel:
    """Returns a model ready to generate."""
    model, _ = load_model(source, device, LanguageModel, "which generates no molecules")
    model.set_tokenizer(smiles_tokenizer(model.tokenizer))
    return model


def sample(
    args: argparse.Namespace,
    model: LanguageModel,
    prompts: list[list[int]],
    sampling: Sampling,
    told: Mapping[str, Any],
    keeps: Callable[[Generated], Sequence[bool]],
    generator: torch.Generator,
) -> Redrawn:
    """Generates with a bar of what is done; what is not kept is generated again."""
    with progress_bar("generating", total=len(prompts)) as advance:

        def draw(places: torch.Tensor) -> Generated:
            return model.generate(
                [prompts[place] for place in places.tolist()],
                sampling=sampling,
                batch_size=args.batch_size,
                generator=generator,
                progress=advance,
                **{
                    name: value[places] if isinstance(value, torch.Tensor) else value
                    for name, value in told.items()
                },
            )

        def judge(found: Generated) -> Sequence[bool]:
            kept = keeps(found)
            advance(-kept.count(False))  # they are still to be done
            return kept

        return redraw(draw, judge, len(prompts), most=args.most_draws)


def read_reference(args: argparse.Namespace, counts: Counts) -> set[str]:
    """Returns the canonical SMILES of the reference, written by the RDKit of today."""
    known: set[str] = set()
    file = find_file(args.reference)
    records = list(read_records(file))
    for record in with_progress(records, "reading"):
        found = canonical(record.smiles)
        if found is not None:
            known.add(found)
            continue
        name = f"{file.name}, row {record.row}"
        try:
            checked(record.smiles, name)
        except InputError as error:
            counts.refuse(error, args.on_invalid)
    return known


def as_it_is(text: str) -> str | None:
    """Returns a text of another notation; None if it is empty."""
    return text or None


def rows(
    smiles: list[str], found: Generated, quality: Quality, molecular: bool
) -> Iterator[dict[str, Any]]:
    """Yields one row per molecule."""
    gains = found.log_likelihoods.tolist()
    for text, gained, known in zip(smiles, gains, quality.canonical, strict=True):
        said = (int(known is not None), known) if molecular else (None, None)
        cells = (text, f"{-gained:.4f}", *said)
        yield dict(zip(COLUMNS, cells, strict=True))


def draw(args: argparse.Namespace, quality: Quality) -> None:
    """Draws the first different valid molecules."""
    from headway.molecules.figures import save_grid

    valid = list(dict.fromkeys(text for text in quality.canonical if text))
    if valid:
        save_grid(valid[: args.columns * args.rows], args.grid, columns=args.columns)


def worth(found: Generated, quality: Quality, seconds: float, cpu: float) -> dict[str, Any]:
    """Returns what was generated and what it is worth."""
    return {
        "generated": len(found.tokens),
        "ended_by_themselves": int(found.finished.sum()),
        "validity": round(quality.validity, 4),
        "uniqueness": round(quality.uniqueness, 4),
        "novelty": None if quality.novelty is None else round(quality.novelty, 4),
        "molecules_per_second": round(len(found.tokens) / max(seconds, 1e-9), 1),
        "molecules_per_cpu_second": round(len(found.tokens) / max(cpu, 1e-9), 1),
    }
