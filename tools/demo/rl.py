"""Trains a decision transformer on random walks, asks it for success and for failure, and films both.

What it runs is what a user types: ``headway fit -c rl/decision_key_to_door`` and ``headway rollout``.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from steps import say, step

RECIPE = "rl/decision_key_to_door"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (runs)")
    args, overrides = parser.parse_known_args()
    start = time.monotonic()
    # Tensors this small gain nothing from a second thread.
    torch.set_num_threads(1)
    before = set(args.runs.glob(f"{RECIPE}/*"))
    if code := step("fit", "-c", RECIPE, "--runs", str(args.runs), *overrides):
        return code
    [run] = set(args.runs.glob(f"{RECIPE}/*")) - before
    pictures = run / "pictures"
    plot, video, table = pictures / "demo.png", pictures / "demo.gif", run / "episodes.csv"
    rollout = ["rollout", "-m", str(run), "--targets", "0", "1", "--episodes", "200"]
    if code := step(*rollout, "-o", str(table), "--plot", str(plot), "--video", str(video)):
        return code
    say("done")
    print("the data are random walks, of which about 3 in 100 carry the key to the door")
    print(f"picture   {plot}   (return that came about over return that was asked for)")
    print(f"film      {video}   (asked to fail first, then to succeed)")
    print(f"episodes  {table}")
    print(f"model     {run / 'model'}")
    print(f"time      {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
