"""The C++ compiler of this machine, and how it is called."""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

_NAMES = ("c++", "g++", "clang++")
_VECTOR = "HEADWAY_VECTOR"
# What keeps vectors down to so many floats on x86; elsewhere they have 4.
_NARROWER = {"4": ("-mno-avx",), "8": ("-mno-avx512f",), "16": (), "": ()}
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
        target: What it compiles for here: a hash of the macros that it sets for this processor, one of
            which stands for each kind of instruction. Empty if it does not say.
        narrower: Options that forbid vectors as wide as the processor has.
    """

    command: tuple[str, ...]
    version: str
    target: str = ""
    narrower: tuple[str, ...] = ()

    def compile(self, source: Path, target: Path, *, threads: bool) -> None:
        """Writes a shared library.

        Args:
            source: File in C++.
            target: The library.
            threads: Whether loops run on several threads (OpenMP).

        Raises:
            BuildError: The compiler refuses; the message holds the end of what it said.
        """
        options = [*_FLAGS, *self.narrower, *(_threads() if threads else ()), f"-I{INCLUDE}"]
        output = _said((*self.command, *options, "-o", str(target), str(source)), seconds=300)
        if output is not None:
            raise BuildError(f"{shlex.join(self.command)} refuses {source.name}: {output[-400:]}")

    def options(self) -> str:
        """All that decides what it makes of a source, besides the source."""
        given = (*self.command, self.version, self.target, *_FLAGS, *self.narrower, *_threads())
        return " ".join((*given, processor()))


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
            version = done.stdout.partition("\n")[0]
            narrower = _narrower()
            return Compiler(tuple(candidate), version, _target(candidate, narrower), narrower)
    if named:
        raise BuildError(f"CXX names {named!r}, which does not run; correct or unset it")
    raise BuildError(f"no C++ compiler ({', '.join(_NAMES)}) is installed; install g++ or set CXX")


def _narrower() -> tuple[str, ...]:
    named = os.environ.get(_VECTOR, "").strip()
    if named not in _NARROWER:
        raise BuildError(f"{_VECTOR} is {named!r}; use 4, 8 or 16 floats, or unset it")
    return _NARROWER[named] if platform.machine().lower() in ("x86_64", "amd64", "i686") else ()


def _target(command: list[str], narrower: tuple[str, ...]) -> str:
    """A hash of the macros that the compiler sets for this processor, or nothing if it has no such mode."""
    asked = [*command, *_FLAGS[:3], *narrower, "-dM", "-E", "-x", "c++", os.devnull]
    try:
        done = subprocess.run(asked, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else hashlib.sha256(done.stdout).hexdigest()


def processor() -> str:
    """What ``-march=native`` depends on, as the system tells it: machines may share a cache."""
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
