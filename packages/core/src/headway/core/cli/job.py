"""What every verb of a domain does in the same way: checks before the work, files, and what it says."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from headway.core.cli.counts import Counts
from headway.core.cli.options import refuse_to_overwrite
from headway.core.errors import UserError
from headway.core.files import atomic_write, save_figure, staged_folder, write_csv


class Job:
    """One run of a verb. Making it refuses wrong use, before anything is read or loaded.

    A table goes into the file of ``-o``, or to standard output. ``--json`` has standard output to itself:
    without a file the rows are then part of what it says.

    Args:
        args: Of the verb, with the options of every verb.
        task: What is asked of the model, such as ``"predict with"``; None for a verb that does without one.
        items: What the inputs are, in the plural; they are counted in ``counts``.
        out: What ``-o`` takes: a ``table`` may do without it, a ``file`` or ``folder`` may not.
        extra: Other options that name files; they are refused where they exist, as that of ``-o`` is.

    Raises:
        UserError: If the model or the place of the result is missing, or something stands there.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        task: str | None,
        *,
        items: str = "inputs",
        out: Literal["table", "file", "folder"] = "table",
        extra: Sequence[str] = (),
    ) -> None:
        if task is not None and not args.checkpoint:
            raise UserError(f"{task} what? -m takes a run folder, a checkpoint or a hub id")
        self.path = None if args.out is None or str(args.out) == "-" else Path(args.out)
        if out != "table" and self.path is None:
            raise UserError(f"where does the result go? -o takes the {out} for it")
        if out == "folder" and self.path is not None and self.path.is_file():
            raise UserError(f"{self.path} is a file; -o takes a folder")
        for name in extra:
            refuse_to_overwrite(getattr(args, name), overwrite=args.overwrite)
        self.counts = Counts(items)
        self._as_json, self._plot = bool(args.json), getattr(args, "plot", None)
        self._held: io.StringIO | None = None

    @property
    def place(self) -> str:
        """Where the result went, for a sentence: ``" to p.csv"``, or nothing for standard output."""
        return "" if self.path is None else f" to {self.path}"

    @contextmanager
    def file(self) -> Iterator[IO[str]]:
        """Gives the file to write the table to."""
        if self.path is not None:
            with atomic_write(self.path, "w") as file:
                yield file
        elif self._as_json:
            self._held = io.StringIO(newline="")
            yield self._held
        else:
            if isinstance(sys.stdout, io.TextIOWrapper):
                # As in files: names of files need not be UTF-8.
                sys.stdout.reconfigure(errors="surrogateescape")
            yield sys.stdout

    def table(self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes the rows as CSV."""
        with self.file() as file:
            write_csv(file, columns, rows)

    def folder(self) -> AbstractContextManager[Path]:
        """Gives a folder for files; they move to that of ``-o`` when the block ends well."""
        assert self.path is not None
        return staged_folder(self.path)

    def draw(self, figure: Callable[..., Any], *content: Any, **options: Any) -> None:
        """Draws into the file of ``--plot``, where one is asked for; of several inputs the first.

        Args:
            figure: Makes a figure of what follows.
            content: Its arguments.
            options: Its arguments by name.
        """
        if self._plot is not None:
            save_figure(figure(*content, **options), self._plot)
            self._plot = None

    def say(self, text: str, facts: Mapping[str, Any], *, aloud: bool = False) -> None:
        """Says what was done, or prints it as JSON.

        Args:
            text: For people, on standard error.
            facts: For ``--json``; where the result went comes in front.
            aloud: Whether the text is the result, which goes to standard output.
        """
        if not self._as_json:
            print(text, file=sys.stdout if aloud else sys.stderr)
            return
        said = {"out": None if self.path is None else str(self.path), **facts}
        if self._held is not None:
            self._held.seek(0)
            said["rows"] = list(csv.DictReader(self._held))
        print(json.dumps(said))

    def end(self, what: str, **facts: Any) -> int:
        """Says what was done with how many inputs, and which were left out.

        Args:
            what: Such as ``"predictions written to p.csv"``, behind their number.
            facts: For ``--json``.

        Returns:
            The exit code: 1 if nothing was done.
        """
        self.say(self.counts.lines(what), {**facts, **self.counts.as_dict()})
        return 0 if self.counts.done else 1
