"""Trains a small Llama on 5,000 molecules that RDKit brings along, generates new ones and draws them.

What it runs is what a user types: ``headway fit -c molecules/llama_nci`` and ``headway sample``.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from steps import say, step

RECIPE = "molecules/llama_nci"
EPOCHS = "10"  # half of the recipe's, for two minutes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (runs)")
    args, overrides = parser.parse_known_args()
    start = time.monotonic()
    # Tensors this small gain nothing from a second thread.
    torch.set_num_threads(1)
    before = set(args.runs.glob(f"{RECIPE}/*"))
    quick = ["--trainer.max_epochs", EPOCHS]
    if code := step("fit", "-c", RECIPE, "--runs", str(args.runs), *quick, *overrides):
        return code
    [run] = set(args.runs.glob(f"{RECIPE}/*")) - before
    picture, table = run / "pictures" / "demo.png", run / "molecules.csv"
    sample = ["sample", "-m", str(run), "-n", "1000", "-o", str(table), "--grid", str(picture)]
    if code := step(*sample, "--reference", "nci", "--on-invalid", "skip"):
        return code
    say("done")
    print(f"picture    {picture}   (the first valid ones, as they came)")
    print(f"molecules  {table}")
    print(f"model      {run / 'model'}")
    print(f"time       {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
