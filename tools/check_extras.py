"""Installs each extra alone in an empty environment and imports what it is for.

    python tools/check_extras.py [EXTRA ...]

Also checks that the base install imports every domain and names the extra that `headway fit` needs.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOMAINS = ("vision", "timeseries", "rl", "speech", "molecules")
BASE = "; ".join(f"import headway.{name}, headway.{name}.plugin" for name in DOMAINS)
CHECKS = {
    "": f"{BASE}; import headway.vision.models, headway.core.stacks",
    "train": "import headway.core.training, headway.core.cli",
    "vision": "import headway.vision.tasks, headway.vision.data, headway.vision.models",
    "export": "import onnx, onnxruntime",
    **{
        name: f"import headway.{name}.models, headway.{name}.data, headway.{name}.tasks"
        for name in DOMAINS[1:]
    },
}


def check(extra: str) -> None:
    """Raises if the extra cannot be installed alone, or does not import its domain."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        pip = [python, "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
        beside = {"vision": ["torchvision"], "speech": ["torchaudio"]}.get(extra, [])
        torch = ["torch", *beside]
        subprocess.run([*pip, *torch], check=True)
        subprocess.run([*pip, f"{ROOT}[{extra}]" if extra else str(ROOT)], check=True)
        subprocess.run([python, "-c", CHECKS[extra]], check=True, cwd=folder)
        if not extra:
            fit = subprocess.run(
                [str(Path(folder) / "bin" / "headway"), "fit", "-c", "vision/vit_digits"],
                capture_output=True, text=True, check=False, cwd=folder,
            )  # fmt: skip
            said = fit.stdout + fit.stderr
            if fit.returncode != 2 or 'pip install "headway[vision]"' not in said:
                raise SystemExit(f"bare headway fit should name the extra, it said: {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", default=list(CHECKS))
    for extra in parser.parse_args().extras:
        check(extra)
        print(f"headway[{extra}]: ok" if extra else "headway: ok", flush=True)


if __name__ == "__main__":
    sys.exit(main())
