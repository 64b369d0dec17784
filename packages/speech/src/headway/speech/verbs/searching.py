"""Options of verbs that look for texts."""

import argparse

from headway.core.cli.loading import load_model
from headway.core.cli.options import check_positive
from headway.core.language import LanguageModel
from headway.speech.search import GREEDY, Search


def add_search(parser: argparse.ArgumentParser) -> None:
    """Adds how a text is looked for."""
    parser.add_argument(
        "--beam",
        type=int,
        default=GREEDY.beam,
        metavar="N",
        help="readings that are followed side by side (1: the best step every time)",
    )
    parser.add_argument(
        "--language-model",
        metavar="RUN",
        help="a run or folder of a language model over the recogniser's tokens; needs a beam",
    )
    parser.add_argument(
        "--language-weight",
        type=float,
        default=GREEDY.language_weight,
        metavar="W",
        help=f"weight of its log-probabilities ({GREEDY.language_weight:g})",
    )
    parser.add_argument(
        "--hot-words",
        nargs="+",
        default=[],
        metavar="WORD",
        help="words that are expected, such as names; needs a beam",
    )
    parser.add_argument(
        "--hot-bonus",
        type=float,
        default=GREEDY.hot_bonus,
        metavar="B",
        help=f"log-probability that each token of such a word gets ({GREEDY.hot_bonus:g})",
    )


def search_of(args: argparse.Namespace) -> Search:
    """Returns what the options ask for.

    Raises:
        UserError: If they do not go together, or the language model is none.
    """
    check_positive(args, "beam")
    model = None
    if args.language_model is not None:
        model, _ = load_model(
            args.language_model, args.device, LanguageModel, "which is no language model"
        )
    return Search(
        beam=args.beam,
        language_model=model,
        language_weight=args.language_weight,
        hot_words=tuple(args.hot_words),
        hot_bonus=args.hot_bonus,
    )
