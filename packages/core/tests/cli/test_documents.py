"""The Python in the documents runs, and the tests in it hold."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "quickstart").glob("*.md")),
    ROOT / "docs" / "finetune.md",
    *sorted((ROOT / "docs" / "contributing").glob("*.md")),
]

# By `make docs`, of what is installed.
MADE = {
    ROOT / "docs" / name
    for name in ("systems.md", "parts.md", "commands.md", "api/index.md", "gallery/index.rst")
}


def python_of(page: Path) -> list[str]:
    """Returns the blocks of a page, each on the lines where it stands, so that errors name them."""
    parts = page.read_text(encoding="utf-8").split("```python\n")
    blocks, line = [], parts[0].count("\n") + 1
    for part in parts[1:]:
        code, _, rest = part.partition("\n```")
        blocks.append("\n" * line + code)
        line += 1 + code.count("\n") + 1 + rest.count("\n")
    return blocks


@pytest.mark.parametrize(
    "page", [page for page in PAGES if python_of(page)], ids=lambda page: page.stem
)
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    import lightning

    long = lightning.pytorch.Trainer

    def short(**options: Any) -> Any:
        return long(
            fast_dev_run=2, accelerator="cpu", enable_progress_bar=False, default_root_dir=tmp_path
        )

    monkeypatch.setattr(lightning, "Trainer", short)
    monkeypatch.chdir(tmp_path)
    # Blocks of a page stand on each other, as a reader takes them.
    names: dict[str, Any] = {"__name__": "page"}
    for block in python_of(page):
        exec(compile(block, str(page), "exec"), names)
    for name, value in names.items():
        if name.startswith("test_") and inspect.isfunction(value):
            value(
                **{
                    needed: request.getfixturevalue(needed)
                    for needed in inspect.signature(value).parameters
                }
            )


def test_links_between_documents_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    pages += (ROOT / "packages").glob("*/README.md")
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            meant = (page.parent / target).resolve()
            if "://" not in target and meant not in MADE:
                assert meant.exists(), f"{page}: {target}"


def test_files_that_the_pages_about_contributing_name_are_there() -> None:
    files = [path.as_posix() for path in (ROOT / "packages").rglob("*.py")]
    for page in (ROOT / "docs" / "contributing").glob("*.md"):
        lines = page.read_text(encoding="utf-8").splitlines()
        # The tables name files that a reader is going to write.
        text = "\n".join(line for line in lines if not line.startswith("|"))
        for named in re.findall(r"`([\w./]+/\w+\.py)`", text):
            assert any(file.endswith(f"/{named}") for file in files), f"{page}: {named}"
