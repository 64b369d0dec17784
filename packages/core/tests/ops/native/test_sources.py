"""Every C++ kernel of the ops builds: where one does not, it is only slow, and its tests are skipped."""

import os
from pathlib import Path

import pytest

import headway.core.ops.native
from headway.core.ops.native import compiler, reason_against

OPS = Path(headway.core.ops.native.__file__).parents[1]
SOURCES = sorted(OPS.rglob("*.cpp"))


def test_there_are_sources() -> None:
    assert {"attention.cpp", "window.cpp"} <= {source.name for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(OPS)))
def test_it_builds_where_there_is_a_compiler(source: Path) -> None:
    if os.environ.get("HEADWAY_NATIVE") == "0":
        pytest.skip("HEADWAY_NATIVE=0")
    try:
        compiler.find()
    except compiler.BuildError as error:
        pytest.skip(str(error))
    assert reason_against(source) is None
