"""Trains the CIFAR-10 recipe and a CIFAR ResNet-20 for the same CPU time, several seeds each.

    python tools/bench/cifar10.py --data FOLDER --out RUNS --seeds 0 1 2 [--model vit|resnet20]

Every run is one thread, its CPU time (all threads, validation included) is what the run's metrics.csv
says. The score is that of the last weights on the test split, which is looked at once, at the end.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run(model: str, seed: int, data: str, out: Path, more: list[str]) -> dict[str, float | str]:
    """Trains and tests once, in a process of its own; returns its row of the table."""
    folder = out / f"{model}-{seed}"
    configs = ["-c", "vision/vit_cifar10"]
    if model == "resnet20":
        configs += ["-c", str(HERE / "resnet20.yaml")]
    code = (
        f"import sys, torch; sys.path.insert(0, {str(HERE)!r}); torch.set_num_threads(1); "
        "from headway.core.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    python = [sys.executable, "-c", code]
    fit = [
        "fit",
        *configs,
        "--data.path",
        data,
        "--seed_everything",
        str(seed),
        "--runs",
        str(folder),
    ]
    subprocess.run([*python, *fit, *more], check=True)
    [metrics] = folder.rglob("metrics.csv")
    with metrics.open() as file:
        minutes = float(list(csv.DictReader(file))[-1]["cpu_minutes"])
    last = metrics.parent / "checkpoints" / "last.ckpt"
    test = subprocess.run(
        [*python, "test", "-m", str(last), "--json"], check=True, capture_output=True, text=True
    )
    score = json.loads(test.stdout[test.stdout.index("{") :])
    (folder / "test.json").write_text(json.dumps(score))
    return {"model": model, "seed": seed, "cpu_minutes": minutes, "top1": score["test_top1"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with train and test")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", nargs="+", default=["vit", "resnet20"])
    args, more = parser.parse_known_args()
    rows = [run(m, seed, args.data, args.out, more) for m in args.model for seed in args.seeds]
    for row in rows:
        run_of = f"{row['model']:>10} seed {row['seed']}"
        print(f"{run_of}  {row['cpu_minutes']:.2f} CPU-minutes  {row['top1']:.4f}")


if __name__ == "__main__":
    main()
