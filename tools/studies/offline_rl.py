"""Methods of offline reinforcement learning on the same data: one table of returns.

    export MINARI_DATASETS_PATH=DIR
    python tools/studies/offline_rl.py --data headway/hopper/medium-sac-v0 --out runs/hopper

Each method is a recipe of headway, trained by `headway fit` for the same number of updates, and played by
`headway rollout --last`. The target is fixed beforehand: the highest return of the training data. What has
been trained and played is not done again, so that a study which was stopped goes on where it was.

Decision transformers and cloning take short training with a rate of 1e-3 after a tenth of the updates, in
batches of `--batch-size` stretches; the controls (IQL, TD3+BC) keep the settings of their recipes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import minari

RATE = 1e-3
# Stretches of a batch in the recipes of the controls, and how often a run validates.
BATCH, EPOCHS = 32, 4
# Name of a method, its recipe, its own options, and whether it is a transformer that is trained shortly.
METHODS: tuple[tuple[str, str, tuple[str, ...], bool], ...] = (
    ("BC", "rl/cloning_minari", (), True),
    ("10 % BC", "rl/cloning_minari", ("--data.top_fraction", "0.1"), True),
    ("DT", "rl/decision_minari", (), True),
    ("DC", "rl/convformer_minari", (), True),
    ("TD3+BC", "rl/td3_bc_minari", (), False),
    ("IQL", "rl/iql_minari", (), False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="id of a Minari data set, on this machine")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--updates", type=int, default=2000, help="a multiple of 4 (2000)")
    parser.add_argument("--batch-size", type=int, default=16, help="of the transformers (16)")
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    out = args.out / args.data.replace("/", "_")
    returns = returns_of(args.data)
    done = []
    for name, recipe, own, short in METHODS:
        folder = out / name.replace(" ", "").replace("%", "percent").replace("+", "_")
        options = [*own, *(shortly(args) if short else ())]
        batch = args.batch_size if short else BATCH
        options += ["--data.number", str(args.updates // EPOCHS * batch)]
        seconds = [train(folder / str(seed), recipe, seed, options, args) for seed in args.seeds]
        played = play(folder, max(returns), args)
        done.append((name, played, sum(seconds) / len(seconds)))
        print(line(*done[-1]), flush=True)
    text = table(args, returns, done)
    (out / "table.md").write_text(text)
    print(text)


def returns_of(data: str) -> list[float]:
    """Returns that of each episode of a data set."""
    return [float(one.rewards.sum()) for one in minari.load_dataset(data).iterate_episodes()]


def shortly(args: argparse.Namespace) -> list[str]:
    """Returns the options of short training."""
    return [
        *("--model.optimizer.lr", str(RATE)),
        *("--model.schedule.warmup", str(args.updates // 10)),
        *("--data.batch_size", str(args.batch_size)),
    ]


def train(
    folder: Path, recipe: str, seed: int, options: Sequence[str], args: argparse.Namespace
) -> float:
    """Trains one seed unless that was done, and returns its CPU-seconds."""
    note = folder / "seconds.json"
    if not note.is_file():
        before = cpu_seconds()
        headway(
            *("fit", "-c", recipe, "--runs", str(folder), "--seed_everything", str(seed)),
            *("--data.path", args.data, "--trainer.max_steps", str(args.updates), *options),
        )
        note.write_text(json.dumps(cpu_seconds() - before))
    return json.loads(note.read_text())


def play(folder: Path, target: float, args: argparse.Namespace) -> dict[str, Any]:
    """Plays the last weights of all seeds unless that was done, and returns what came about."""
    note = folder / "played.json"
    if not note.is_file():
        runs = [str(run_of(folder / str(seed))) for seed in args.seeds]
        sources = [part for run in runs for part in ("-m", run)]
        said = headway(
            *("rollout", *sources, "--last", "--targets", str(target), "--headline", str(target)),
            *("--episodes", str(args.episodes), "--json", "-o", str(folder / "episodes.csv")),
            "--overwrite",
        )
        note.write_text(said)
    return json.loads(note.read_text())


def run_of(folder: Path) -> Path:
    """Returns the run folder that was made in a folder."""
    return next(path.parent for path in sorted(folder.rglob("config.yaml")))


def headway(*words: str) -> str:
    """Runs a verb, and returns what it printed."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("headway")), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def cpu_seconds() -> float:
    """Returns those of all processes that were run and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def line(name: str, played: dict[str, Any], seconds: float) -> str:
    """Returns the row of a method."""
    last, best = (next(iter(played[key].values())) for key in ("last", "targets"))
    low, high = last["interval"]
    score = f"{last['normalised']:.1f}" if "normalised" in last else ""
    return (
        f"| {name} | {last['return_mean']:.0f} | {last['interquartile_mean']:.0f} ({low:.0f} to {high:.0f}) "
        f"| {best['return_mean']:.0f} | {score} | {seconds / 60:.1f} |"
    )


def table(
    args: argparse.Namespace,
    returns: list[float],
    done: list[tuple[str, dict[str, Any], float]],
) -> str:
    """Returns the table as Markdown."""
    middle = sorted(returns)[len(returns) // 2]
    environment = done[0][1]["environment"]
    return "\n".join(
        [
            f"`{args.data}` ({environment}): {len(returns)} episodes with returns of {min(returns):.0f} to "
            f"{max(returns):.0f}, median {middle:.0f}. {args.updates:,} updates, {len(args.seeds)} seeds, "
            f"{args.episodes} episodes of each, asked for {max(returns):.0f}; "
            f"{time.strftime('%Y-%m-%d')}.",
            "",
            "| method | mean return, last weights | interquartile mean (95 %) | best weights | normalised | "
            "CPU-minutes a seed |",
            "| --- | --- | --- | --- | --- | --- |",
            *(line(*one) for one in done),
            "",
        ]
    )


if __name__ == "__main__":
    main()
