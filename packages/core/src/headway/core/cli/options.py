"""Options that verbs share."""

import argparse
from pathlib import Path
from typing import Any

from headway.core.errors import UserError

MOST = 10**8
"""Of pictures, episodes, molecules, steps ... at a time or in all."""


class Numbers(argparse.Action):
    """Reads numbers with commas or spaces between them, such as ``20,100 500``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Sets the list of numbers."""
        numbers: list[float] = []
        for word in (part for value in values for part in value.split(",")):
            try:
                numbers.append(float(word))
            except ValueError:
                raise argparse.ArgumentError(self, f"{word!r} is no number") from None
        setattr(namespace, self.dest, numbers)


def add_shared_options(
    parser: argparse.ArgumentParser, *, many: bool = False, on_invalid: str = "raise"
) -> None:
    """Adds the options that every verb of a domain has.

    Args:
        parser: The parser of the verb.
        many: Whether ``-m`` may be given several times; it is then a list. A verb says so with
            ``MANY_CHECKPOINTS = True``.
        on_invalid: What happens to an input that cannot be read where the user does not say it. A verb says
            so with ``ON_INVALID = "keep"``.
    """
    shared = parser.add_argument_group("options of every verb")
    shared.add_argument(
        "-m",
        "--checkpoint",
        metavar="SOURCE",
        action="append" if many else "store",
        help="run folder, .ckpt, folder or hub id of a model"
        + ("; may be repeated" if many else ""),
    )
    shared.add_argument("-o", "--out", type=Path, metavar="PATH", help="where the result goes")
    shared.add_argument("--overwrite", action="store_true", help="replace PATH if it exists")
    shared.add_argument(
        "--on-invalid",
        choices=("raise", "skip", "keep"),
        default=on_invalid,
        help=f"what to do with an input that cannot be read (default: {on_invalid})",
    )
    shared.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    shared.add_argument("--json", action="store_true", help="print JSON")
    shared.add_argument("--domain", help="the domain, where the checkpoint does not tell")


def add_plot(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds ``--plot``; ``what`` is drawn there."""
    parser.add_argument("--plot", type=Path, metavar="PNG", help=f"draw {what} here")


def add_batch_size(parser: argparse.ArgumentParser, default: int, items: str) -> None:
    """Adds ``--batch-size``, a number of items."""
    parser.add_argument(
        "--batch-size", type=int, default=default, help=f"{items} of a batch ({default})"
    )


def check_positive(args: argparse.Namespace, *names: str, most: int = MOST) -> None:
    """Raises if one of these options, or one number of its list, cannot be a count; None is none.

    Args:
        args: The options.
        names: Those that are looked at.
        most: The largest that is allowed.

    Raises:
        UserError: If one is below 1 or above ``most``; it names the option.
    """
    for name in names:
        given = getattr(args, name)
        for value in given if isinstance(given, list) else [given]:
            if value is not None and not 1 <= value <= most:
                beyond = "below 1" if value < 1 else f"above {most:,}"
                raise UserError(f"--{name.replace('_', '-')} {value} is {beyond}")


def check_seed(seed: int) -> None:
    """Raises if a seed is none that every generator takes.

    Raises:
        UserError: If it is negative or needs more than 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed {seed} is no whole number from 0 to {2**32 - 1:,}")


def refuse_to_overwrite(out: Path | None, *, overwrite: bool) -> None:
    """Raises if a result would take the place of something.

    Args:
        out: Where the result goes.
        overwrite: Whether that is allowed.
    """
    if out is None or overwrite or str(out) == "-" or not out.exists():
        return
    if out.is_dir() and not any(out.iterdir()):
        return
    raise UserError(f"{out} exists; choose another place, or add --overwrite")
