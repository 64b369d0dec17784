"""C++ sources become libraries once per machine, and nothing breaks where they cannot."""

import ctypes
import dataclasses
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.core.ops import native
from headway.core.ops.native import build, compiler

_SOURCE = """
#include "vectors.h"
using namespace headway;
HEADWAY_EXPORT int width() { return W; }
HEADWAY_EXPORT void powers(const float* in, float* out, long n) {
  for (long i = 0; i + W <= n; i += W) store(out + i, exp2(load(in + i)));
}
HEADWAY_EXPORT int threads(int wanted) {
  int seen = 0;
#pragma omp parallel for num_threads(wanted) schedule(static) reduction(+ : seen)
  for (int i = 0; i < wanted; i++) seen += 1;
  return seen;
}
"""


def has_compiler() -> bool:
    try:
        compiler.find()
    except compiler.BuildError:
        return False
    return True


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler here")


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HEADWAY_NATIVE", raising=False)
    caches = (build._outcome, build._report, build._compiler)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "powers.cpp"
    path.write_text(_SOURCE)
    return path


def made(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "native").iterdir())


@needs_compiler
def test_source_becomes_a_library_that_computes(source: Path) -> None:
    assert native.reason_against(source) is None
    library = native.library(source)
    assert library.width() in (4, 8, 16)
    assert library.threads(3) == 3
    inputs = [-float("inf"), -127.0, -126.0, -1.3, 0.0, 0.5, 1.7, 100.25] * 2
    given = (ctypes.c_float * 16)(*inputs)
    out = (ctypes.c_float * 16)()
    library.powers(given, out, ctypes.c_long(16))
    assert out[0] == out[1] == 0.0
    for x, y in list(zip(inputs, out, strict=True))[2:8]:
        assert y == pytest.approx(2.0**x, rel=3e-7)


@needs_compiler
def test_library_is_kept_and_made_anew_when_the_source_changes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native.library(source)
    first = made(tmp_path)
    assert len(first) == 1
    build._outcome.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(compiler.Compiler, "compile", lambda *_, **__: pytest.fail("compiled again"))
        assert native.reason_against(source) is None
    source.write_text(_SOURCE + "HEADWAY_EXPORT int added() { return 7; }\n")
    build._outcome.cache_clear()
    assert native.library(source).added() == 7
    assert len(made(tmp_path)) == 2


@needs_compiler
def test_spoilt_library_is_made_anew(source: Path, tmp_path: Path) -> None:
    native.reason_against(source)
    (file,) = made(tmp_path)
    # Another file in its place, as a copy would: the one that is loaded stays as it is.
    file.unlink()
    file.write_bytes(b"no library")
    build._outcome.cache_clear()
    assert native.library(source).width() in (4, 8, 16)


def broken_compiler(tmp_path: Path) -> Path:
    script = tmp_path / "broken-cxx"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo broken 1.0; exit 0; }\n'
        "echo cannot do vectors >&2\nexit 1\n"
    )
    script.chmod(0o755)
    return script


def test_broken_compiler_is_reported_once(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CXX", str(broken_compiler(tmp_path)))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            reason = native.reason_against(source)
            assert reason is not None
            assert "cannot do vectors" in reason
    assert len(caplog.records) == 1
    assert "HEADWAY_NATIVE=0" in caplog.text
    with pytest.raises(compiler.BuildError, match="cannot do vectors"):
        native.library(source)
    assert made(tmp_path) == []


def test_missing_compiler_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in str(native.reason_against(source))
    build._outcome.cache_clear()
    build._compiler.cache_clear()
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    assert "install g++ or set CXX" in str(native.reason_against(source))


def test_folder_that_cannot_be_written_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "file"))
    if has_compiler():
        assert "set HEADWAY_CACHE" in str(native.reason_against(source))


def test_switch_turns_everything_off(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWAY_NATIVE", "0")
    assert "unset it" in str(native.reason_against(source))
    assert not (tmp_path / "cache").exists()


@needs_compiler
def test_two_processes_build_at_once(source: Path, tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from headway.core.ops import native;"
        "print(native.library(pathlib.Path(sys.argv[1])).width())"
    )
    command = [sys.executable, "-c", code, str(source)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert answers[0] == answers[1]
    assert int(answers[0]) in (4, 8, 16)
    assert [file.suffix for file in made(tmp_path)] == [".so"]


@needs_compiler
@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="vectors have one width on this processor"
)
def test_vectors_can_be_narrower_than_the_processor_has(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = []
    for wanted in (4, 8, 16):
        monkeypatch.setenv("HEADWAY_VECTOR", str(wanted))
        build._outcome.cache_clear()
        build._compiler.cache_clear()
        widths.append(native.library(source).width())
        assert widths[-1] <= wanted
    assert widths[0] == 4
    # Where the processor has no wider vectors the macros agree, but the options are named.
    assert len(made(tmp_path)) == 3


@needs_compiler
def test_a_wrong_width_of_vectors_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_VECTOR", "12")
    assert "HEADWAY_VECTOR is '12'; use 4, 8 or 16" in str(native.reason_against(source))


@needs_compiler
@pytest.mark.parametrize("changed", ["processor", "target", "version"])
def test_a_library_of_another_machine_or_compiler_is_never_loaded(
    changed: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two kinds of machines share a home: what the other made may hold instructions that this lacks."""
    native.library(source)
    (foreign,) = made(tmp_path)
    foreign.unlink()
    foreign.write_bytes(b"would crash")
    build._outcome.cache_clear()
    build._compiler.cache_clear()
    if changed == "processor":
        monkeypatch.setattr(compiler, "processor", lambda: "x86_64 flags: sse2")
    else:
        here = dataclasses.replace(compiler.find(), **{changed: "another"})
        monkeypatch.setattr(build, "find", lambda: here)
    assert native.library(source).width() in (4, 8, 16)
    assert len(made(tmp_path)) == 2
    assert foreign.read_bytes() == b"would crash"


@needs_compiler
def test_the_target_follows_the_instructions_of_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("HEADWAY_VECTOR changes nothing on this processor")
    monkeypatch.delenv("HEADWAY_VECTOR", raising=False)
    wide = compiler.find().target
    monkeypatch.setenv("HEADWAY_VECTOR", "4")
    assert wide
    assert compiler.find().target not in ("", wide)


def test_wheel_holds_the_sources() -> None:
    """Hatchling takes whole packages; what it leaves out is what git ignores."""
    root = Path(build.__file__).parent
    files = [str(path) for path in [*root.rglob("*.h"), *root.parent.rglob("*.cpp")]]
    assert files
    inside = subprocess.run(
        ["git", "check-ignore", *files], capture_output=True, text=True, cwd=root
    )
    if inside.returncode == 128:
        pytest.skip("no git repository here")
    assert inside.stdout == ""
