"""What the tests of training and of the command line share."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Recipes name the small classes of these tests by module, in this process and in others.
TOYS = str(Path(__file__).parent / "toys")
sys.path.insert(0, TOYS)

RECIPE = """\
# headway fit -c toy.yaml
# A toy that learns to count
# score: none
seed_everything: 3
model:
  class_path: headway_toy.ToyTask
  init_args:
    backbone: {class_path: headway_toy.ToyModel, init_args: {depth: 2}}
    optimizer: {class_path: AdamW, init_args: {lr: 0.01}}
    schedule: {class_path: WarmupCosine, init_args: {warmup: 1}}
    layer_decay: 0.8
    ema: 0.9
data: {class_path: headway_toy.ToyData, init_args: {batch_size: 8}}
trainer:
  max_epochs: 3
  accelerator: cpu
  logger: false
  callbacks:
    - class_path: headway_toy.Kill
    - class_path: RunRecorder
      init_args: {every_n_steps: 2}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe that trains in a moment, in a folder of its own."""
    path = tmp_path / "toy.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def shared_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same recipe for what several tests share."""
    path = tmp_path_factory.mktemp("recipe") / "toy.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs code in a process of its own."""

    def run(
        code: str, *words: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([TOYS, *sys.path])
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(env or {})},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def headway(python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Any]:
    """Runs the program in a process of its own."""
    code = "import sys; from headway.core.cli import main; sys.exit(main())"
    return functools.partial(python, code)
