"""Counts the files of headway that one training batch enters, and how often it crosses from one to another.

    python tools/studies/walk.py [DOMAIN ...]

A batch goes from the data set through model, loss and optimiser; Lightning and PyTorch are not counted. The
data are made up here; what is learned from them does not matter.
"""

import argparse
import csv
import math
import sys
import tempfile
import wave
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from headway.core.cli.main import main as headway
from headway.core.training import Task


def table(folder: Path) -> list[str]:
    """Fifteen thousand hours of three waves."""
    path, start = folder / "series.csv", datetime(2018, 1, 1)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["date", "a", "b", "c"])
        for hour in range(15_000):
            out.writerow([start + timedelta(hours=hour), *(math.sin(hour / n) for n in (3, 5, 9))])
    return ["--data.path", str(path)]


def recordings(folder: Path) -> list[str]:
    """Tones of .4 seconds, named like spoken digits."""
    for speaker in ("anna", "ben", "carl", "dora", "emil", "fred"):
        for digit, take in ((digit, take) for digit in range(10) for take in range(12)):
            tone = [int(9000 * math.sin(i * (digit + 2) / 20)) for i in range(3200)]
            with wave.open(str(folder / f"{digit}_{speaker}_{take}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(b"".join(x.to_bytes(2, "little", signed=True) for x in tone))
    return ["--data.path", str(folder)]


def molecules(folder: Path) -> list[str]:
    """Two hundred chains."""
    path = folder / "chains.smi"
    chains = ("C" * (n % 9 + n // 20 + 1) + "O" * (n % 2) + "N" * (n % 3) for n in range(200))
    path.write_text("".join(f"{chain}\n" for chain in chains))
    return ["--data.path", str(path)]


def nothing(_: Path) -> list[str]:
    """These bring their data."""
    return []


RECIPES: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    "vision": ("vision/vit_digits", nothing),
    "timeseries": ("timeseries/itransformer_ett", table),
    "rl": ("rl/decision_key_to_door", nothing),
    "speech": ("speech/conformer_digits", recordings),
    "molecules": ("molecules/llama_nci", molecules),
}


class Walk:
    """Listens to calls."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.crossings, self.batches, self._last = 0, 0, ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Notes a call of a function of headway."""
        here = frame.f_code.co_filename
        if event == "call" and "/headway/" in here:
            self.crossings += here != self._last
            self.files.add(here)
            self._last = here

    def after_batch(self, *_: Any, **__: Any) -> None:
        """Walks with the third batch: by then nothing is done for the first time."""
        self.batches += 1
        sys.setprofile(self if self.batches == 2 else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("domains", nargs="*", default=list(RECIPES))
    options = [
        "--trainer.max_steps=4",
        "--trainer.limit_val_batches=1",
        "--trainer.accelerator=cpu",
    ]
    for domain in parser.parse_args().domains:
        recipe, make = RECIPES[domain]
        walk = Walk()
        Task.on_train_batch_end = walk.after_batch  # type: ignore[method-assign]
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            data.mkdir()
            words = ["fit", "-c", recipe, "--runs", f"{folder}/runs", *make(data), *options]
            if headway(words):
                raise SystemExit(f"{recipe} failed")
        print(f"{domain}: {len(walk.files)} files, {walk.crossings} crossings", flush=True)


if __name__ == "__main__":
    main()
