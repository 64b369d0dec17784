"""Recordings and manifests that the tests make."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def tone(seconds: float, rate: int, pitch: float, seed: int = 0) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    noise = 0.01 * np.random.default_rng(seed).standard_normal(len(times))
    return 0.3 * np.sin(2 * np.pi * pitch * times) + noise


def write_manifest(path: Path, rows: list[dict]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    names = list(rows[0])
    lines = [",".join(names)] + [",".join(str(row[name]) for name in names) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def harmonic(hertz: float, seconds: float = 0.5, rate: int = 8000) -> Tensor:
    """Returns a tone with overtones, as a voice has them."""
    times = torch.arange(round(seconds * rate)) / rate
    parts = [torch.sin(2 * torch.pi * hertz * k * times) / k for k in range(1, 6)]
    return 0.2 * torch.stack(parts).sum(0)
