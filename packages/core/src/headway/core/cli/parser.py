"""An argument parser whose errors are one line."""

import argparse
import re
from typing import NoReturn

from headway.core.cli.nearest import nearest
from headway.core.errors import UserError


class Parser(argparse.ArgumentParser):
    """Raises ``UserError`` where argparse prints its usage and leaves.

    Options may not be abbreviated: a new one would change what old scripts mean.

    Args:
        prog: The command, such as ``"headway ls"``.
        description: What it does.
        raw: Whether the lines of the description stay as they are.
    """

    def __init__(self, *, prog: str, description: str, raw: bool = False) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter if raw else argparse.HelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises the error with the nearest right option."""
        verb = self.prog.rpartition(" ")[2]
        hint = ""
        if found := re.match(r"unrecognized arguments: (-\S+)", message):
            options = [name for action in self._actions for name in action.option_strings]
            hint = nearest(found.group(1).partition("=")[0], options)
        raise UserError(f"{verb}: {message}{hint}; see {self.prog} --help")
