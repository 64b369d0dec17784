"""Optimises molecules for an objective; writes all of them, the best, what they are worth, and pictures."""

import argparse
import csv
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headway.core.cli.job import Job
from headway.core.cli.options import check_positive, check_seed
from headway.core.cli.progress import progress_bar
from headway.core.errors import UserError
from headway.core.files import atomic_write, save_figure, write_csv
from headway.core.weights import describe, save_pretrained
from headway.molecules.chemistry import canonical, checked
from headway.molecules.data.readers import read_records
from headway.molecules.metrics.moses import moses_reference
from headway.molecules.metrics.moses.chemnet import Moments, chemnet_moments
from headway.molecules.metrics.moses.filters import passes
from headway.molecules.optimization.base import Optimizer
from headway.molecules.optimization.measures import TOPS, best_of, summary, top_curve
from headway.molecules.optimization.methods import METHODS, make_optimizer
from headway.molecules.optimization.running import Run
from headway.molecules.optimization.targets import Targets
from headway.molecules.optimization.written import written_before_and_after
from headway.molecules.properties import PROPERTIES
from headway.molecules.scoring import ArithmeticMean, Scorer, parted, read_objective
from headway.molecules.shipped import find_file, has_moses
from headway.molecules.verbs.sample import load
from headway.molecules.verbs.targets import add_protein, read_proteins, targeted

SHOWN, KEPT = 20, 100
# Of the methods.
OPTIONS = ("batch_size", "lr", "sigma", "replay", "buckets", "invalid_penalty")
# Molecules to begin with, drawn from a file.
DRAWN = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway optimize``."""
    parser.add_argument(
        "--task", required=True, metavar="NAME|FILE", help="a task of GuacaMol or PMO, or a .yaml"
    )
    parser.add_argument("--method", choices=list(METHODS), default="reinvent", help="(reinvent)")
    parser.add_argument("--budget", type=int, default=10000, help="different molecules (10000)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (0)")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help="go on with a run of the same options, instead of -o",
    )
    parser.add_argument("--batch-size", type=int, help="molecules of a step")
    parser.add_argument("--lr", type=float, help="learning rate")
    parser.add_argument("--sigma", type=float, help="reinvent: nats for a score of 1 (500)")
    parser.add_argument("--replay", type=int, help="reinvent: of the best, learned from again (24)")
    parser.add_argument(
        "--buckets", type=int, help="molecules of a scaffold that earn something; 0 for any (0)"
    )
    add_protein(parser)
    parser.add_argument(
        "--invalid-penalty", type=float, help="reinvent, ppo: what is no molecule costs so much (0)"
    )
    parser.add_argument(
        "--settled",
        type=int,
        metavar="STEPS",
        help="end after so many steps that change none of the best 100 (never; PMO: 5)",
    )
    parser.add_argument(
        "--start", metavar="FILE", help="molecules that ga and pairs begin with; ga: moses, or nci"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=1000,
        help="written before and after to compare; 0 for none (1000)",
    )
    parser.add_argument(
        "--reference", metavar="FILE", help="FCD of these samples to moses (its test set) or a file"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE",
        help="classes of yours in the .yaml",
    )


def run(args: argparse.Namespace) -> int:
    """Runs a method; returns 1 if no molecule has scored anything."""
    check_positive(args, "budget", "batch_size", "settled")
    check_seed(args.seed)
    if (args.out is None) == (args.resume is None):
        raise UserError("give -o DIR for a new run, or --resume DIR to go on with one")
    args.out = args.out or args.resume
    job = Job(args, None if args.method == "ga" else "optimise with", out="folder")
    folder = Path(args.out)
    scorer = read_objective(args.task, allow=args.allow)
    reference = None if args.reference is None else moments(args)
    optimizer = build(args)
    facts = {
        "task": args.task,
        "method": args.method,
        "seed": args.seed,
        "objective": written(scorer),
    }
    facts |= {name: getattr(args, name) for name in OPTIONS}
    facts["proteins"] = optimizer.proteins
    options = {"resume": args.resume is not None, "facts": facts, "settled": args.settled}
    going = Run(optimizer, scorer, args.budget, folder=folder, **options)
    with progress_bar("optimising", total=args.budget) as advance:
        advance(going.oracle.calls)
        going.go(progress=advance)
    going.close()
    said = conclude(args, going, reference)
    lines = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in said.items()
        if not isinstance(value, dict)
    ]
    for name in ("before", "after"):
        inner = said["written"].get(name, {})
        if inner:
            lines.append(
                f"written {name}: " + ", ".join(f"{key} {value}" for key, value in inner.items())
            )
    job.say("\n".join(lines), said)
    return 0 if said["top_1"] > 0 else 1


def build(args: argparse.Namespace) -> Optimizer:
    """Returns the optimiser."""
    model = None if args.method == "ga" else load(args.checkpoint, args.device)
    proteins = read_proteins(args)
    targets = None
    if proteins is not None:
        if model is None or "targets" not in METHODS[args.method][1]:
            able = ", ".join(name for name, (_, taken) in METHODS.items() if "targets" in taken)
            raise UserError(f"{args.method} writes for no protein; {able} do")
        model = targeted(model, args.checkpoint)
        targets = Targets(model, proteins)
    start: list[str] = []
    if args.start is not None or args.method == "ga":
        source = args.start or ("moses" if has_moses() else "nci")
        start = drawn(source, [args.seed])[args.seed]
    options: dict[str, Any] = {name: getattr(args, name) for name in OPTIONS}
    options |= {"targets": targets, "invalid": options.pop("invalid_penalty")}
    if targets is not None and len(targets) > 1 and args.method == "reinvent":
        # What was good for one protein is nothing for another.
        options["replay"] = 0 if options["replay"] is None else options["replay"]
    return make_optimizer(args.method, model, start=start, seed=args.seed, **options)


def drawn(source: str, seeds: Sequence[int]) -> dict[int, list[str]]:
    """Returns for each seed some valid molecules of a file, in a random order."""
    smiles = [record.smiles for record in read_records(find_file(source))]
    starts = {}
    for seed in seeds:
        some = random.Random(seed).sample(smiles, min(len(smiles), 2 * DRAWN))
        found = (canonical(text) for text in some)
        starts[seed] = list(dict.fromkeys(text for text in found if text))[:DRAWN]
    return starts


def moments(args: argparse.Namespace) -> Moments:
    """Returns what ChemNet sees in the reference."""
    if args.reference == "moses":
        found = moses_reference("test").chemnet
        assert found is not None
        return found
    file = find_file(args.reference)
    texts = (canonical(record.smiles) for record in read_records(file))
    return chemnet_moments([text for text in texts if text is not None])


def written(scorer: Scorer) -> str:
    """Returns an objective as text, so that a run goes on with the same one alone."""
    return json.dumps(describe(scorer), sort_keys=True)


def conclude(args: argparse.Namespace, going: Run, reference: Moments | None) -> dict[str, Any]:
    """Writes what came of a run, and returns what it is worth."""
    folder, scores, optimizer = Path(args.out), going.oracle.scores, going.optimizer
    facts: dict[str, Any] = {"task": args.task, "method": args.method, "seed": args.seed}
    facts |= summary(scores, args.budget)
    facts |= shares(folder / "molecules.csv")
    facts["cpu_seconds"] = round(going.cpu_seconds, 1)
    facts["cpu_seconds_per_1000_calls"] = round(1000 * going.cpu_seconds / max(1, len(scores)), 1)
    facts["written"] = {}
    if args.samples > 0:
        facts["written"] = written_before_and_after(
            optimizer, going.oracle.scorer, args.samples, seed=args.seed, reference=reference
        )
    with atomic_write(folder / "summary.json", "w") as file:
        file.write(json.dumps(facts, indent=1) + "\n")
    best = best_of(scores, KEPT)
    names = {sequence: name for name, sequence in (optimizer.proteins or {}).items()}
    with atomic_write(folder / "best.csv", "w") as file:
        rows, columns = described(best, going.oracle.scorer, scores, names)
        write_csv(file, columns, rows)
    draw(folder, best, scores, f"{args.task}, {args.method}, seed {args.seed}")
    if optimizer.tuned_model is not None:
        save_pretrained(optimizer.tuned_model, folder / "model")
    return facts


def shares(table: Path) -> dict[str, float]:
    """Returns which share of all that was proposed is valid, and how much of that different."""
    with table.open(encoding="utf-8", newline="") as file:
        texts = [row["canonical_smiles"] for row in csv.DictReader(file)]
    valid = [text for text in texts if text]
    return {
        "proposed": len(texts),
        "validity": round(len(valid) / max(1, len(texts)), 4),
        "uniqueness": round(len(set(valid)) / max(1, len(valid)), 4),
    }


def described(
    best: list[str], scorer: Scorer, scores: dict[str, float], names: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns a row for each of the best with its score, the parts of it and properties; and the columns."""
    calls = {key: call for call, key in enumerate(scores, 1)}
    pairs = [parted(key) for key in best]
    found = [checked(text, "molecule") for text, _ in pairs]
    about = [protein or "" for _, protein in pairs] if names else None
    parts: dict[str, list[float]] = {}
    if isinstance(scorer, ArithmeticMean):
        for place, values in enumerate(scorer.parts(found, about), 1):
            parts[f"part_{place}"] = values
    rows: list[dict[str, Any]] = []
    for place, (key, (text, protein), one) in enumerate(zip(best, pairs, found, strict=True)):
        row: dict[str, Any] = {"smiles": text, "score": scores[key], "call": calls[key]}
        if protein is not None:
            row["protein"] = names[protein]
        row |= {name: f"{values[place]:.6g}" for name, values in parts.items()}
        row |= {name: f"{compute(one):.6g}" for name, compute in PROPERTIES.items()}
        row["passes"] = int(passes(one)) if has_moses() else ""
        rows.append(row)
    known = ["smiles", "score", "call", *(["protein"] if names else []), *parts]
    return rows, [*known, *PROPERTIES, "passes"]


def draw(folder: Path, best: list[str], scores: dict[str, float], title: str) -> None:
    """Draws the best molecules, and how good they were over the calls."""
    from headway.molecules.figures import optimization_figure, save_grid

    if not best:
        return
    legends = [f"{scores[text]:.3f}" for text in best[:SHOWN]]
    shown = [parted(key)[0] for key in best[:SHOWN]]
    save_grid(shown, folder / "best.png", legends=legends)
    values = list(scores.values())
    curves = {f"best {top}": top_curve(values, top=top) for top in TOPS}
    calls = next(iter(curves.values()))[0]
    means = {name: means for name, (_, means) in curves.items()}
    save_figure(optimization_figure(calls, means, title), folder / "curve.png")
