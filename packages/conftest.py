"""Seeds of the tests that train, and what these measure: `tools/portable/seeds.py` makes a table of both."""

from collections.abc import Callable
from typing import SupportsFloat

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that says which seeds."""
    parser.addoption("--seeds", default="0", help="seeds of the tests that train, such as 0,1,2")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives every test that is marked ``learns`` its argument ``seed``."""
    if metafunc.definition.get_closest_marker("learns"):
        seeds = [int(seed) for seed in str(metafunc.config.getoption("seeds")).split(",")]
        metafunc.parametrize("seed", seeds, ids=[f"seed{seed}" for seed in seeds], scope="module")


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Asserts that a number lies ``below`` or ``above`` its bound, and records both."""

    def run(
        what: str,
        value: SupportsFloat,
        *,
        below: float | None = None,
        above: float | None = None,
    ) -> None:
        number = float(value)
        if below is not None:
            record_property(f"{what} < {below:g}", number)
            assert number < below, what
        if above is not None:
            record_property(f"{what} > {above:g}", number)
            assert number > above, what

    return run
