"""The table of launch shapes is complete and sane."""

import json
from importlib import resources

import pytest

from headway.core.ops.kernels.machine import INTERPRETER
from headway.core.ops.kernels.tiles import Tile, tile_for

TABLE = json.loads(resources.files("headway.core.ops.kernels").joinpath("tiles.json").read_text())
KERNELS = [(op, kernel) for op, kernels in TABLE.items() for kernel in kernels]


@pytest.mark.parametrize(("op", "kernel"), KERNELS)
def test_entries_are_powers_of_two_for_both_gated_architectures(op: str, kernel: str) -> None:
    entries = TABLE[op][kernel]
    # Scans compute in float32 whatever they read, so one entry serves all types.
    assert {"80", "90", *({"single"} if op != "scan" else ())} <= entries.keys()
    for table in entries.values():
        for width, numbers in table.items():
            tile = Tile(*numbers)
            for number in (int(width), tile.t, tile.s, tile.warps):
                assert number & (number - 1) == 0, (width, tile)
            assert 1 <= tile.stages <= 4


def test_an_architecture_without_entries_takes_those_of_80_and_a_width_the_next_larger() -> None:
    entries = TABLE["attention"]["forward"]
    given = {"single": False, "width": 24}
    assert tile_for("attention", "forward", arch=86, **given) == Tile(*entries["80"]["32"])
    assert tile_for("attention", "forward", arch=90, **given) == Tile(*entries["90"]["32"])
    assert tile_for("attention", "forward", arch=INTERPRETER, **given) == Tile(64, 64, 4, 1)
    single = tile_for("attention", "bias", arch=80, single=True, width=128)
    assert single == Tile(*entries_of("bias", "single", "128"))


def entries_of(kernel: str, kind: str, width: str) -> list[int]:
    return TABLE["attention"][kernel][kind][width]


def test_a_width_beyond_the_table_is_an_error_that_names_it() -> None:
    with pytest.raises(KeyError, match="width 1024"):
        tile_for("attention", "forward", arch=80, single=False, width=1024)
