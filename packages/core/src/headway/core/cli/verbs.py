"""The verbs of the program: core's own, those of the domains, and who answers to which name."""

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from headway.core.cli.nearest import nearest
from headway.core.cli.options import add_shared_options, refuse_to_overwrite
from headway.core.cli.parser import Parser
from headway.core.cli.source import domain_of
from headway.core.errors import UserError
from headway.core.plugins import Domain, domains
from headway.core.reading import check_path

Run = Callable[[list[str]], int]

# module, help; imported when used, for half of them need Lightning.
_OWN = {
    "fit": ("headway.core.cli.fit", "train a recipe, or continue a run with --resume RUN"),
    "validate": ("headway.core.cli.evaluate", "evaluate a run on its validation data"),
    "test": ("headway.core.cli.evaluate", "evaluate a run on its test data"),
    "ls": ("headway.core.cli.listing", "list recipes, models, systems or mixers"),
    "curves": ("headway.core.cli.curves", "draw a metric of several runs over their training"),
    "cp": ("headway.core.cli.copying", "copy a recipe to a file of yours"),
}


def run(args: list[str]) -> int:
    """Runs one command.

    Args:
        args: The verb and its words.
    """
    offered = domains()
    if not args or args[0] in ("-h", "--help"):
        print(_overview(offered))
        return 0
    if args[0] == "--version":
        from headway import core

        print(f"headway {core.__version__}")
        return 0
    verb, words = args[0], args[1:]
    if verb in _OWN:
        return importlib.import_module(_OWN[verb][0]).run(verb, words)
    able = {name: domain for name, domain in offered.items() if verb in domain.verbs}
    if not able:
        known = [*_OWN, *sorted({v for domain in offered.values() for v in domain.verbs})]
        raise UserError(f"there is no verb {verb!r}{nearest(verb, known)}; see headway --help")
    return _run_of_domain(verb, words, able)


def _overview(offered: dict[str, Domain]) -> str:
    rows = [(name, text) for name, (_, text) in _OWN.items()]
    of_verbs: dict[str, list[str]] = {}
    for name, domain in offered.items():
        for verb, entry in domain.verbs.items():
            of_verbs.setdefault(verb, []).append(f"{entry.help} [{name}]")
    rows += [(verb, "; ".join(texts)) for verb, texts in sorted(of_verbs.items())]
    width = max(len(name) for name in [*offered, *(name for name, _ in rows)])
    lines = [f"  {name:<{width}}  {text}" for name, text in rows]
    names = [f"  {d.name:<{width}}  {d.help}" for d in offered.values()]
    return "\n".join(
        [
            "usage: headway VERB ...   (headway VERB --help says more)",
            "",
            *lines,
            "",
            "domains:",
            *names,
        ]
    )


def _run_of_domain(verb: str, words: list[str], able: dict[str, Domain]) -> int:
    name = _choose(verb, words, able)
    module = importlib.import_module(able[name].verbs[verb].module)
    parser = Parser(prog=f"headway {verb}", description=able[name].verbs[verb].help)
    module.configure(parser)
    add_shared_options(
        parser,
        many=getattr(module, "MANY_CHECKPOINTS", False),
        on_invalid=getattr(module, "ON_INVALID", "raise"),
    )
    args = parser.parse_args(words)
    _check_paths(args)
    refuse_to_overwrite(args.out, overwrite=args.overwrite)
    return module.run(args)


def _check_paths(args: argparse.Namespace) -> None:
    """Raises if an option names what can be no file."""
    for name, value in vars(args).items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Path) or (name == "inputs" and isinstance(one, str)):
                check_path(one)


def _choose(verb: str, words: list[str], able: dict[str, Domain]) -> str:
    """Returns the domain that a command is meant for."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    peek.add_argument("--domain")
    peek.add_argument("-m", "--checkpoint")
    try:
        seen, _ = peek.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UserError(f"{verb}: {error}; see headway {verb} --help") from None
    name = seen.domain
    if name is None and seen.checkpoint is not None:
        name = domain_of(seen.checkpoint)
    if name is None and len(able) == 1:
        name = next(iter(able))
    if name is None:
        what = f"the domain of {seen.checkpoint}" if seen.checkpoint else "which domain is meant"
        raise UserError(f"{verb}: cannot tell {what}; add --domain {' or --domain '.join(able)}")
    if name not in able:
        raise UserError(f"{verb}: {name} does not offer it; these domains do: {', '.join(able)}")
    return name


def is_terminal() -> bool:
    """Whether a person watches the output."""
    return sys.stdout.isatty()
