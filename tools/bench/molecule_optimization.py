"""Optimisers of molecules on tasks of PMO: a table of AUC-top10 over tasks, methods and seeds.

Each run has a folder ``OUT/TASK/METHOD/SEED`` with all its molecules, and ``result.json`` when it has ended;
what was broken off goes on, what has ended is not run again. One thread for each run, ``--workers`` of them
side by side. The graph genetic algorithm begins with molecules of the data that the model has learned from.

    python tools/bench/molecule_optimization.py -m RUN -o OUT [--tasks qed median1] [--methods reinvent ga]
        [--seeds 0 1] [--budget 10000] [--settled 5] [--workers 2]
    python tools/bench/molecule_optimization.py -o OUT --table
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

from headway.core.files import atomic_write
from headway.molecules.optimization.measures import summary
from headway.molecules.optimization.methods import METHODS, make_optimizer
from headway.molecules.optimization.running import STATE, Run
from headway.molecules.scoring import TASKS, task
from headway.molecules.verbs.optimize import drawn
from headway.molecules.verbs.sample import load

CHOSEN = (
    "albuterol_similarity",
    "amlodipine_mpo",
    "celecoxib_rediscovery",
    "fexofenadine_mpo",
    "isomers_c7h8n2o2",
    "isomers_c9h10n2o2pf2cl",
    "median1",
    "median2",
    "mestranol_similarity",
    "osimertinib_mpo",
    "perindopril_mpo",
    "qed",
    "ranolazine_mpo",
    "thiothixene_rediscovery",
    "zaleplon_mpo",
)
Case = tuple[str, str, int]


def run_case(
    case: Case, model: str | None, start: Sequence[str], out: Path, budget: int, settled: int | None
) -> dict[str, Any]:
    """Runs one method on one task with one seed, or goes on with it; returns what it is worth."""
    name, method, seed = case
    folder = out / name / method / str(seed)
    ended = folder / "result.json"
    if ended.is_file():
        return json.loads(ended.read_text())
    optimizer = make_optimizer(
        method,
        None if method == "ga" or model is None else load(model, "cpu"),
        start=start,
        seed=seed,
    )
    facts = {"task": name, "method": method, "seed": seed, "model": model or ""}
    resume = (folder / STATE).is_file()
    options = {"facts": facts, "resume": resume, "settled": settled}
    run = Run(optimizer, task(name), budget, folder=folder, **options)
    run.go()
    run.close()
    found = {**facts, **summary(run.oracle.scores, budget)}
    found["cpu_seconds"] = round(run.cpu_seconds, 1)
    with atomic_write(ended, "w") as file:
        file.write(json.dumps(found, indent=1) + "\n")
    (folder / STATE).unlink(missing_ok=True)  # ten times as large as all the rest
    return found


def table(out: Path) -> str:
    """Returns the table of all runs that have ended."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*/*/*/result.json"))]
    methods = [name for name in METHODS if any(one["method"] == name for one in found)]
    lines = [f"| task | {' | '.join(methods)} |", "|---|" + "---|" * len(methods)]
    sums = dict.fromkeys(methods, 0.0)
    whole = True
    for name in sorted({one["task"] for one in found}):
        cells = []
        for method in methods:
            areas = [
                one["auc_top_10"] for one in found if (one["task"], one["method"]) == (name, method)
            ]
            whole = whole and bool(areas)
            sums[method] += mean(areas) if areas else 0.0
            cells.append(
                f"{mean(areas):.3f} ({', '.join(f'{one:.3f}' for one in areas)})" if areas else "-"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if whole:
        lines.append(f"| sum | {' | '.join(f'{sums[one]:.3f}' for one in methods)} |")
    for label, key in (
        ("CPU-seconds per 1,000 calls", None),
        ("diversity of the best 100", "top_100_diversity"),
        ("their SA", "top_100_SA"),
        ("without alerts", "top_100_without_alerts"),
    ):
        cells = []
        for method in methods:
            own = [one for one in found if one["method"] == method]
            values = [
                1000 * one["cpu_seconds"] / max(1, one["calls"]) if key is None else one[key]
                for one in own
            ]
            values = [value for value in values if value is not None]
            cells.append(f"{mean(values):.3g}" if values else "-")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Runs what has not ended, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--checkpoint", help="a language model of molecules")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--tasks", nargs="+", default=list(CHOSEN), choices=list(TASKS))
    parser.add_argument(
        "--methods", nargs="+", default=["reinvent", "pairs", "ga"], choices=list(METHODS)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--budget", type=int, default=10000)
    parser.add_argument(
        "--settled", type=int, help="end as PMO does, after so many steps without a change (PMO: 5)"
    )
    parser.add_argument("--start", default="moses", help="molecules that ga begins with")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print the table of what has ended")
    args = parser.parse_args()
    if not args.table:
        os.environ["OMP_NUM_THREADS"] = "1"
        # Seeds outside: after a part of the time there is one of each.
        cases = [(x, y, seed) for seed in args.seeds for x in args.tasks for y in args.methods]
        begun = time.monotonic()
        # All of a large file is read for some of its rows: once, not in every run.
        starts = drawn(args.start, args.seeds) if "ga" in args.methods else {}
        with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
            waiting = {
                pool.submit(
                    run_case,
                    one,
                    args.checkpoint,
                    starts[one[2]] if one[1] == "ga" else (),
                    args.out,
                    args.budget,
                    args.settled,
                ): one
                for one in cases
            }
            for number, done in enumerate(as_completed(waiting), 1):
                found, minutes = done.result(), (time.monotonic() - begun) / 60
                print(
                    f"{number}/{len(cases)} {' '.join(map(str, waiting[done]))}: AUC-top10 "
                    f"{found['auc_top_10']:.3f}, top-10 {found['top_10']:.3f}, {found['cpu_seconds']:.0f} "
                    f"CPU-s, {minutes:.1f} minutes so far",
                    flush=True,
                )
    print(table(args.out))


if __name__ == "__main__":
    main()
