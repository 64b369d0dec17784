"""The examples of the gallery: what of headway each uses, and their text as Markdown."""

import ast
from pathlib import Path


def links(folder: Path, way: str) -> dict[str, list[str]]:
    """Returns links to the examples by the full names that they import.

    Args:
        folder: Where the examples lie.
        way: From the pages that link to where the gallery lies.
    """
    found: dict[str, list[str]] = {}
    for file in sorted(folder.glob("plot_*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        title = (ast.get_docstring(tree) or file.stem).partition("\n")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("headway."):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    found.setdefault(name, []).append(f"[{title}]({way}/{file.stem}.rst)")
    return found


def plain(file: Path) -> str:
    """Returns an example as Markdown: cells of comments are text, the rest is code."""
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    title, _, told = (ast.get_docstring(tree, clean=True) or file.stem).partition("\n")
    body = "\n".join(text.splitlines()[(tree.body[0].end_lineno or 0) :])
    lines = [f"# {title}", "", told.lstrip("=\n"), ""]
    for cell in body.split("\n# %%\n"):
        rows = cell.strip().splitlines()
        words = []
        while rows and rows[0].startswith("#"):
            words.append(rows.pop(0).lstrip("# "))
        lines += [*words, ""] if words else []
        if code := "\n".join(rows).strip():
            lines += ["```python", code, "```", ""]
    return "\n".join(lines)
