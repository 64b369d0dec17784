"""Makes up windows of series, writes them as a table, and draws them."""

import argparse
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import add_plot, check_positive, check_seed
from headway.core.cli.progress import progress_bar
from headway.timeseries.data.frames import write_frame
from headway.timeseries.figures import made_figure
from headway.timeseries.models.diffusion_ts import DiffusionTS
from headway.timeseries.prediction.notes import read_notes


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway generate``."""
    parser.add_argument("-n", "--count", type=int, default=100, help="windows (100)")
    parser.add_argument("--steps", type=int, help="steps of the sampler (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the random draws (0)")
    parser.add_argument("--batch-size", type=int, default=256, help="windows at a time (256)")
    add_plot(parser, "the windows")


def run(args: argparse.Namespace) -> int:
    """Writes one row per step of each window."""
    check_positive(args, "count", "batch_size")
    check_seed(args.seed)
    job = Job(args, "generate with", out="file", extra=["plot"])
    model, notes = load(args.checkpoint, args.device)
    names = notes.get("names") or [f"series {k + 1}" for k in range(model.features)]
    windows = to_units(generate(model, args.count, args.steps, args.seed, args.batch_size), notes)
    number, length, features = windows.shape
    frame = pd.DataFrame(windows.reshape(-1, features), columns=pd.Index(names))
    frame.insert(0, "window", np.repeat(np.arange(number), length))
    frame.insert(1, "step", np.tile(np.arange(length), number))
    write_frame(frame, args.out)
    job.draw(made_figure, windows, names)
    said = f"{number} windows of {length} steps, written{job.place}"
    job.say(said, {"windows": number, "steps": length})
    return 0


def load(source: str, device: str | None) -> tuple[DiffusionTS, dict[str, Any]]:
    """Returns a model ready to generate, and what its numbers mean.

    Raises:
        UserError: If it generates no series.
    """
    remedy = "train a DiffusionTS (headway fit -c timeseries/diffusion_ts_ett)"
    model, _ = load_model(source, device, DiffusionTS, f"which generates no series; {remedy}")
    return model, read_notes(source)


def generate(
    model: DiffusionTS, number: int, steps: int | None, seed: int, batch_size: int
) -> NDArray[np.float64]:
    """Makes windows up, a batch at a time, (number, length, features), scaled."""
    generator = torch.Generator(model.rest.weight.device).manual_seed(seed)
    made = []
    with progress_bar("generating", total=number) as advance:
        for start in range(0, number, batch_size):
            size = min(batch_size, number - start)
            made.append(model.generate(size, steps=steps, generator=generator).cpu())
            advance(size)
    return torch.cat(made).double().numpy()


def to_units(windows: NDArray[np.float64], notes: dict[str, Any]) -> NDArray[np.float64]:
    """Returns windows in the units of the file that the model learned; as they are without one."""
    if "low" not in notes:
        return windows
    low, high = np.array(notes["low"]), np.array(notes["high"])
    return low + (windows + 1) / 2 * (high - low)
