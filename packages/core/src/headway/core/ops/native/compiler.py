"""The C++ compiler of this machine, and how it is called."""

import os
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

_NAMES = ("c++", "g++", "clang++")
INCLUDE = Path(__file__).parent / "include"
# Nothing that treats infinities and NaN as absent: hidden keys are minus infinity.
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-exceptions",
    "-fno-rtti",
    "-fvisibility=hidden",
    # Vectors wider than the machine has registers for are never passed between libraries.
    "-Wno-psabi",
    "-shared",
    "-fPIC",
)


class BuildError(Exception):
    """Why there is no library; the message says what to do about it."""


@dataclass(frozen=True)
class Compiler:
    """A compiler that was found, and what it says about itself.

    Args:
        command: How it is called, with options from the environment.
        version: The first line of its ``--version``.
    """

    command: tuple[str, ...]
    version: str

    def compile(self, source: Path, target: Path, *, threads: bool) -> None:
        """Writes a shared library.

        Args:
            source: File in C++.
            target: The library.
            threads: Whether loops run on several threads (OpenMP).

        Raises:
            BuildError: The compiler refuses; the message holds the end of what it said.
        """
        options = [*_FLAGS, *(_threads() if threads else ()), f"-I{INCLUDE}"]
        output = _said((*self.command, *options, "-o", str(target), str(source)), seconds=300)
        if output is not None:
            raise BuildError(f"{shlex.join(self.command)} refuses {source.name}: {output[-400:]}")

    def options(self) -> str:
        """All that decides what it makes of a source, besides the source."""
        return " ".join((*self.command, self.version, *_FLAGS, *_threads(), processor()))


def find() -> Compiler:
    """The compiler named by ``CXX``, or the first that is installed.

    Raises:
        BuildError: There is none, or it does not run.
    """
    named = os.environ.get("CXX", "").strip()
    candidates = [shlex.split(named)] if named else [[name] for name in _NAMES]
    for candidate in candidates:
        if shutil.which(candidate[0]) is None:
            continue
        try:
            done = subprocess.run(
                [*candidate, "--version"], capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildError(f"{candidate[0]} does not run: {error}") from error
        if done.returncode == 0:
            return Compiler(tuple(candidate), done.stdout.partition("\n")[0])
    if named:
        raise BuildError(f"CXX names {named!r}, which does not run; correct or unset it")
    raise BuildError(f"no C++ compiler ({', '.join(_NAMES)}) is installed; install g++ or set CXX")


def processor() -> str:
    """What ``-march=native`` depends on: a cache may be shared by different machines."""
    lines = [platform.machine(), platform.processor()]
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(("model name", "flags", "CPU part", "Features")):
                    lines.append(line.strip())
                elif not line.strip():
                    break
    except OSError:
        pass
    return "\n".join(lines)


def _threads() -> tuple[str, ...]:
    """OpenMP from the runtime that PyTorch has loaded: a second one would have its own threads."""
    runtime = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    return ("-fopenmp", "-Wl,--as-needed", *map(str, runtime[:1]))


def _said(command: tuple[str, ...], *, seconds: float) -> str | None:
    """Runs a command; None if it succeeds, else what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"took over {seconds:.0f} seconds"
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr or done.stdout or "no message").strip()
