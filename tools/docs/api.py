"""Pages of the API: what every room exports, with arguments and shapes, read without importing it."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from headway.core.systems import exported, installed_packages, modules

Definition = ast.ClassDef | ast.FunctionDef
SECTIONS = ("Args", "Attributes", "Note", "Raises", "Returns", "Shape", "Source", "Yields")
# Code and addresses are left as they are; what else means something to Markdown is escaped.
_KEPT = re.compile(r"(``.+?``|`[^`]+`|https?://[^\s,;)]*[^\s,;).])", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """A name that a room exports.

    Args:
        room: Import path of the package.
        name: The name.
        node: Its definition; None for what is neither a class nor a function.
        base: Of a class whose constructor is inherited from headway, the class that has it.
    """

    room: str
    name: str
    node: Definition | None
    base: ast.ClassDef | None = None

    @property
    def page(self) -> str:
        """Page of the room, without its ending."""
        return f"api/{self.room.removeprefix('headway.')}"


def rooms() -> dict[str, list[Entry]]:
    """Returns what every package with an ``__all__`` exports, by import path."""
    found = {}
    trees = {
        name: (file, tree)
        for package, folder in installed_packages().items()
        for name, file, tree in modules(package, folder)
    }
    for room, (file, tree) in trees.items():
        if file.name != "__init__.py" or room.endswith(".testing"):
            continue
        names = exported(tree)
        if names:
            found[room] = [_entry(room, name, trees) for name in names]
    return dict(sorted(found.items()))


def _entry(room: str, name: str, trees: dict[str, tuple[Path, ast.Module]]) -> Entry:
    node = _find(room, name, trees)
    base = None
    if isinstance(node, ast.ClassDef) and _constructor(node) is None:
        home = _home(room, name, trees)
        for above in node.bases:
            found = _find(home, ast.unparse(above).partition("[")[0], trees)
            if isinstance(found, ast.ClassDef) and _constructor(found):
                base = found
                break
    return Entry(room, name, node, base)


def _home(module: str, name: str, trees: dict[str, tuple[Path, ast.Module]]) -> str:
    """Returns the module that defines a name, following its imports."""
    _, tree = trees[module]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in trees:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _home(str(node.module), alias.name, trees)
    return module


def _find(module: str, name: str, trees: dict[str, tuple[Path, ast.Module]]) -> Definition | None:
    _, tree = trees[_home(module, name, trees)]
    for node in tree.body:
        if isinstance(node, Definition) and node.name == name:
            return node
    return None


def _constructor(node: ast.ClassDef) -> ast.FunctionDef | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return item
    return None


def page(room: str, entries: list[Entry], about: str, examples: dict[str, list[str]]) -> str:
    """Returns the Markdown of a room.

    Args:
        room: Import path.
        entries: What it exports.
        about: First line of its docstring.
        examples: Links to examples by the names that they use.
    """
    lines = [f"# {room}", "", escaped(about), ""]
    for entry in entries:
        lines += [f"## {entry.name}", "", *_described(entry), ""]
        if links := examples.get(entry.name):
            lines += [f"Examples: {', '.join(links)}", ""]
    return "\n".join(lines)


def _described(entry: Entry) -> list[str]:
    node = entry.node
    if node is None:
        return [f"`from {entry.room} import {entry.name}`"]
    if isinstance(node, ast.FunctionDef):
        code = f"{node.name}({_arguments(node, skip=0)})" + _result(node)
        return [*_code(code), *markdown(ast.get_docstring(node) or "")]
    made = _constructor(node) or (entry.base and _constructor(entry.base))
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and made is None]
    code = f"{node.name}({_arguments(made, skip=1)})" if made else _fields(node, fields)
    lines = [*_code(code), *markdown(ast.get_docstring(node) or "")]
    methods = [
        item
        for item in node.body
        if isinstance(item, ast.FunctionDef)
        and not item.name.startswith("_")
        and ast.get_docstring(item)
        and not any("overload" in ast.unparse(mark) for mark in item.decorator_list)
    ]
    if methods:
        lines += ["**Methods**", ""]
    for item in methods:
        marks = {ast.unparse(mark) for mark in item.decorator_list}
        call = item.name if "property" in marks else f"{item.name}({_names(item)})"
        lines.append(f"- `{call}`: {escaped(_first(ast.get_docstring(item)))}")
    return lines


def _first(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())


def _names(node: ast.FunctionDef) -> str:
    given = node.args
    names = [arg.arg for arg in (*given.posonlyargs, *given.args)][1:]
    names += ["*", *(arg.arg for arg in given.kwonlyargs)] if given.kwonlyargs else []
    return ", ".join(names)


def _fields(node: ast.ClassDef, fields: list[ast.AnnAssign]) -> str:
    if not fields:
        return node.name
    return f"{node.name}({', '.join(ast.unparse(item) for item in fields)})"


def _arguments(node: ast.FunctionDef, *, skip: int) -> str:
    given = ast.parse(ast.unparse(node)).body[0]
    assert isinstance(given, ast.FunctionDef)
    if skip and (given.args.posonlyargs or given.args.args):
        (given.args.posonlyargs or given.args.args).pop(0)
    return ast.unparse(given.args)


def _result(node: ast.FunctionDef) -> str:
    return f" -> {ast.unparse(node.returns)}" if node.returns else ""


def _code(text: str) -> list[str]:
    """A signature, an argument per line where it is long."""
    if len(text) > 88 and "(" in text:
        head, _, rest = text.partition("(")
        inside, _, behind = rest.rpartition(")")
        rows = [f"    {part}," for part in _split(inside)]
        text = "\n".join([f"{head}(", *rows, f"){behind}"])
    return ["```python", text, "```", ""]


def _split(arguments: str) -> list[str]:
    """Splits at the commas that stand in no bracket and no string."""
    parts, depth, start, quoted = [], 0, 0, ""
    for place, sign in enumerate(arguments):
        if quoted:
            quoted = "" if sign == quoted else quoted
        elif sign in "'\"":
            quoted = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif sign == "," and depth == 0:
            parts.append(arguments[start:place].strip())
            start = place + 1
    return [part for part in (*parts, arguments[start:].strip()) if part]


def markdown(docstring: str) -> list[str]:
    """Returns a docstring of Google style as Markdown."""
    lines: list[str] = []
    section = ""
    for line in docstring.splitlines():
        title = line.rstrip().removesuffix(":")
        if line.rstrip().endswith(":") and title in SECTIONS:
            section = title
            lines += ["", f"**{'Arguments' if title == 'Args' else title}**", ""]
            continue
        if line and not line.startswith(" "):
            section = ""
        lines.append(_row(line, section))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    return [*escaped(text).split("\n"), ""]


def _row(line: str, section: str) -> str:
    """A line of a section: an argument becomes an item, the rest of it is indented behind."""
    if section not in ("Args", "Attributes", "Raises"):
        return line.removeprefix("    ") if section else line
    inner = line.removeprefix("    ")
    if inner.startswith(" ") or not inner:
        return inner.strip() and f"  {inner.strip()}"
    name, colon, text = inner.partition(":")
    return f"- ``{name}``:{text}" if colon else f"  {inner}"


def escaped(text: str) -> str:
    """Returns text in which only code, addresses, lists and bold titles mean something to Markdown."""
    parts = _KEPT.split(text)
    for place, part in enumerate(parts):
        if place % 2 == 0:
            part = re.sub(r"(?<!\*)\*(?!\*)", r"\\*", part)
            parts[place] = re.sub(r"([\[\]<>|])", r"\\\1", part).replace("_", r"\_")
        elif part.startswith("http"):
            parts[place] = f"<{part}>"
    return "".join(parts)
