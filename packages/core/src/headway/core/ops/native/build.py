"""Compiled libraries, kept by what they were made from.

A library's name is a hash of its source, the headers, the compiler, its options and the processor:
whatever changes, another file is made, and none is ever wrong. Processes that start together each
compile and move their result into place; no lock can be left behind.
"""

import ctypes
import functools
import hashlib
import logging
import os
import sys
import tempfile
from pathlib import Path

from headway.core.ops.native.compiler import INCLUDE, BuildError, Compiler, find

_log = logging.getLogger(__name__)
_SWITCH = "HEADWAY_NATIVE"


def library(source: Path) -> ctypes.CDLL:
    """The library made from a source that `reason_against` lets pass.

    Args:
        source: File in C++ whose functions have C linkage.

    Raises:
        BuildError: There is none; `reason_against` says why.
    """
    found = _outcome(source)
    if isinstance(found, str):
        raise BuildError(found)
    return found


def reason_against(source: Path) -> str | None:
    """Why a source gives no library here, with the remedy, or None if it does.

    The first question compiles, which takes some seconds; the answer is kept in ``HEADWAY_CACHE``
    (or the user's cache folder) for all processes to come. A failure is logged once.

    Args:
        source: File in C++.
    """
    if os.environ.get(_SWITCH) == "0":
        return f"{_SWITCH}=0 switches C++ kernels off; unset it"
    found = _outcome(source)
    return found if isinstance(found, str) else None


def folder() -> Path:
    """Where libraries are kept."""
    named = os.environ.get("HEADWAY_CACHE")
    if named:
        return Path(named).expanduser() / "native"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "headway" / "native"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "headway" / "native"


@functools.cache
def _outcome(source: Path) -> ctypes.CDLL | str:
    try:
        return _loaded(source, _compiler())
    except BuildError as error:
        _report(str(error))
        return str(error)


@functools.cache
def _report(reason: str) -> None:
    _log.warning(
        "C++ kernels are off, PyTorch's own are used: %s (%s=0 silences this)", reason, _SWITCH
    )


@functools.cache
def _compiler() -> Compiler:
    return find()


def _loaded(source: Path, compiler: Compiler) -> ctypes.CDLL:
    target = folder() / f"{source.stem}-{_digest(source, compiler)}.so"
    if target.exists():
        try:
            return ctypes.CDLL(str(target))
        except OSError:
            # Spoilt from outside; made anew below.
            pass
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _make(source, target, compiler)
        return ctypes.CDLL(str(target))
    except OSError as error:
        raise BuildError(
            f"{target} cannot be written or loaded ({error}); set HEADWAY_CACHE to a folder for it"
        ) from error


def _make(source: Path, target: Path, compiler: Compiler) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as scratch:
        made = Path(scratch) / target.name
        try:
            compiler.compile(source, made, threads=True)
        except BuildError:
            # Some compilers come without OpenMP; one thread is better than no kernel.
            compiler.compile(source, made, threads=False)
        os.replace(made, target)


def _digest(source: Path, compiler: Compiler) -> str:
    digest = hashlib.sha256(compiler.options().encode())
    for file in (source, *sorted(INCLUDE.glob("*.h"))):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:24]
