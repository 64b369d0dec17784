"""Builds the site: lays out the pages, runs Sphinx, puts a plain .md beside each page and writes llms.txt.

The pages are ``docs/*.md``, the READMEs of the domains, CONTRIBUTING.md and CHANGELOG.md; tables and API are
made of what is installed. Nothing needs the network. The folder is made anew.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from api import Entry, page, rooms
from examples import links, plain
from tables import commands, kinds, systems

from headway.core.systems import installed_packages

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = ("vision", "timeseries", "rl", "speech", "molecules")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_TREE = re.compile(r"^```\{toctree\}.*?^```\n", re.DOTALL | re.MULTILINE)


def pages() -> dict[Path, Path]:
    """Returns the place in the site of every file of the tree that belongs to it."""
    docs = ROOT / "docs"
    found = {file: file.relative_to(docs) for file in sorted(docs.rglob("*")) if file.is_file()}
    found |= {
        ROOT / "packages" / name / "README.md": Path("domains") / f"{name}.md" for name in DOMAINS
    }
    found[ROOT / "CONTRIBUTING.md"] = Path("contributing/index.md")
    found[ROOT / "CHANGELOG.md"] = Path("changelog.md")
    return {file: place for file, place in found.items() if "__pycache__" not in file.parts}


def lay_out(source: Path) -> None:
    """Writes everything that Sphinx reads into a folder."""
    known = pages()
    for file, place in known.items():
        target = source / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            text = file.read_text(encoding="utf-8")
            target.write_text(relinked(text, file, known), encoding="utf-8")
        else:
            shutil.copy(file, target)
    exported = rooms()
    places: dict[str, list[Entry]] = {}
    for entries in exported.values():
        for entry in entries:
            places.setdefault(entry.name, []).append(entry)
    examples = links(ROOT / "docs" / "examples", "../gallery")
    write(source / "systems.md", systems(places))
    write(source / "parts.md", kinds(places))
    write(source / "commands.md", commands())
    for room, entries in exported.items():
        used = {entry.name: examples.get(f"{room}.{entry.name}", []) for entry in entries}
        write(source / f"{entries[0].page}.md", page(room, entries, about(room), used))
    names = "\n".join(Path(entries[0].page).name for entries in exported.values())
    rows = [
        f"- [{room}]({Path(found[0].page).name}.md): {about(room)}"
        for room, found in exported.items()
    ]
    text = "\n".join(
        [
            "# API",
            "",
            "What every room exports. Shapes are those of tensors: B batch, N tokens, H heads, C channels.",
            "",
            *rows,
            "",
            "```{toctree}",
            ":hidden:",
            "",
            names,
            "```",
            "",
        ]
    )
    write(source / "api" / "index.md", text)


def write(path: Path, text: str) -> None:
    """Writes a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def about(room: str) -> str:
    """Returns the first line of the docstring of a package."""
    package = ".".join(room.split(".")[:2])
    file = installed_packages()[package].joinpath(*room.split(".")[2:], "__init__.py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def relinked(text: str, file: Path, known: dict[Path, Path]) -> str:
    """Returns a page whose links lead to other pages of the site; files outside of it are named only."""
    here = known[file].parent

    def link(found: re.Match[str]) -> str:
        sign, words, target, anchor = found.groups()
        if not target or "://" in target:
            return found.group(0)
        meant = (file.parent / target).resolve()
        if meant == ROOT / "README.md":
            meant = ROOT / "docs" / "index.md"
        if meant in known:
            way = os.path.relpath(known[meant], here)
            return f"{sign}[{words}]({way}{anchor or ''})"
        # The pages that are made when the site is built lie where the link says.
        if meant.is_relative_to(ROOT / "docs") and not meant.exists():
            return found.group(0)
        return words

    return _LINK.sub(link, text)


def put_plain_beside(source: Path, html: Path) -> list[Path]:
    """Puts the text of each page beside it and returns their places."""
    found = []
    for file in sorted(source.rglob("*.md")):
        place = file.relative_to(source)
        if place.parts[0] != "examples":
            text = _TREE.sub("", file.read_text(encoding="utf-8"))
            write(html / place, text.replace(".rst)", ".md)"))
            found.append(place)
    examples = []
    for file in sorted((source / "examples").glob("plot_*.py")):
        place = Path("gallery") / f"{file.stem}.md"
        write(html / place, plain(file))
        examples.append(place)
    titles = [
        (html / place).read_text(encoding="utf-8").partition("\n")[0][2:] for place in examples
    ]
    rows = [f"- [{title}]({place.name})" for title, place in zip(titles, examples, strict=True)]
    write(html / "gallery" / "index.md", "\n".join(["# Gallery", "", *rows, ""]))
    return [*found, *examples]


def list_for_machines(html: Path, places: list[Path]) -> None:
    """Writes llms.txt: what headway is, and each page with its first sentence."""
    start = (html / "index.md").read_text(encoding="utf-8").split("\n\n")
    sections: dict[str, list[str]] = {}
    for place in places:
        text = (html / place).read_text(encoding="utf-8")
        title = next(line for line in text.splitlines() if line.startswith("# ")).removeprefix("# ")
        first = re.search(r"\n\n([A-Z`\[].+?)(?:\.\s|\.$|\n\n)", text, re.DOTALL)
        told = "" if first is None else ": " + " ".join(_LINK.sub(r"\2", first.group(1)).split())
        folder = "Documents" if len(place.parts) == 1 else place.parts[0]
        sections.setdefault(folder, []).append(f"- [{title}]({place.as_posix()}){told}")
    rest = [name for name in sections if name != "Documents"]
    lines = ["# headway", "", f"> {' '.join(start[1].split())}", ""]
    for name in ("Documents", *sorted(rest)):
        title = "API" if name == "api" else name.capitalize()
        lines += [f"## {title}", "", *sections[name], ""]
    write(html / "llms.txt", "\n".join(lines))


def main() -> int:
    """Builds into a folder."""
    parser = argparse.ArgumentParser(description="Builds the site.")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "docs", help="folder (build/docs)"
    )
    args = parser.parse_args()
    start = time.monotonic()
    shutil.rmtree(args.out, ignore_errors=True)
    source, html = args.out / "source", args.out / "html"
    lay_out(source)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-d", str(args.out / "doctrees"), str(source), str(html)]
    code = subprocess.run(command, check=False).returncode
    if code:
        return code
    places = put_plain_beside(source, html)
    list_for_machines(html, places)
    number = len(list(html.rglob("*.html")))
    print(f"{number} pages in {html / 'index.html'}, {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
