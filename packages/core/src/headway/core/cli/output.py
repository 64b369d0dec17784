"""Where the table of a verb goes, and what ``--json`` says about it."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from headway.core.files import atomic_write


class TableOutput:
    """The table of a verb: in the file of ``-o``, or on standard output.

    ``--json`` has standard output to itself: without a file the rows are then part of what it says.

    Args:
        args: Of the verb, with ``out`` and ``json``.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.path = None if args.out is None or str(args.out) == "-" else Path(args.out)
        self.as_json = bool(args.json)
        self._held: io.StringIO | None = None

    @contextmanager
    def file(self) -> Iterator[IO[str]]:
        """Gives the file to write the table to, as CSV."""
        if self.path is not None:
            with atomic_write(self.path, "w") as file:
                yield file
        elif self.as_json:
            self._held = io.StringIO(newline="")
            yield self._held
        else:
            if isinstance(sys.stdout, io.TextIOWrapper):
                # As in files: names of files need not be UTF-8.
                sys.stdout.reconfigure(errors="surrogateescape")
            yield sys.stdout

    def say(self, content: dict[str, Any]) -> None:
        """Prints the JSON of ``--json``."""
        said = {"out": None if self.path is None else str(self.path), **content}
        if self._held is not None:
            self._held.seek(0)
            said["rows"] = list(csv.DictReader(self._held))
        print(json.dumps(said))
