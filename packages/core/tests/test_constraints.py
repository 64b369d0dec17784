"""What pyproject.toml promises of versions is what is tested."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def lower_bounds() -> dict[str, str]:
    """The bounds of core and of what trains, by package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    found = (re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints-min.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def whole(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple([*numbers, 0, 0][:3])


@pytest.mark.parametrize("package", lower_bounds())
def test_the_lowest_version_is_the_tested_one(package: str) -> None:
    assert whole(pinned()[package]) == whole(lower_bounds()[package])
