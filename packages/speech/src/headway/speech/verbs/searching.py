"""Options of a verb that say how a text is looked for; a recogniser refuses those that it cannot follow."""

import argparse
from typing import Any

from headway.core.cli.loading import load_model
from headway.core.cli.options import Numbers, check_positive
from headway.core.language import LanguageModel
from headway.speech.search import GREEDY

# Options by the names that recognisers know them by.
_OPTIONS = (
    *("language", "task", "beam", "timestamps", "words", "temperatures", "carry"),
    *("language_model", "language_weight", "hot_words", "hot_bonus"),
)


def add_search(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    group = parser.add_argument_group(
        "how the text is looked for", "what a model cannot be told, it refuses"
    )
    group.add_argument(
        "--language", metavar="CODE", help="what is spoken, such as en (it is heard)"
    )
    group.add_argument(
        "--task", choices=("transcribe", "translate"), help="what is written; translate: in English"
    )
    group.add_argument(
        "--beam", type=int, metavar="N", help="readings followed at a time (1: the likeliest token)"
    )
    group.add_argument(
        "--language-model",
        metavar="RUN",
        help="a run or folder of a language model over the recogniser's tokens; needs a beam",
    )
    group.add_argument(
        "--language-weight",
        type=float,
        metavar="W",
        help=f"weight of its log-probabilities ({GREEDY.language_weight:g})",
    )
    group.add_argument(
        "--hot-words",
        nargs="+",
        metavar="WORD",
        help="words that are expected, such as names; needs a beam",
    )
    group.add_argument(
        "--hot-bonus",
        type=float,
        metavar="B",
        help=f"log-probability that each token of such a word gets ({GREEDY.hot_bonus:g})",
    )
    group.add_argument(
        "--word-timestamps",
        dest="words",
        action="store_true",
        default=None,
        help="times of words, too",
    )
    group.add_argument(
        "--no-timestamps",
        dest="timestamps",
        action="store_false",
        default=None,
        help="write no times; long recordings are then heard in windows one behind the other",
    )
    group.add_argument(
        "--temperatures",
        nargs=1,
        action=Numbers,
        metavar="T,T",
        help="tried in turn until an answer is believed; 0 takes the likeliest",
    )
    group.add_argument(
        "--alone",
        dest="carry",
        action="store_false",
        default=None,
        help="a window is not told what was said in the one before",
    )


def wishes(args: argparse.Namespace) -> dict[str, Any]:
    """Returns what was asked for, by name.

    Raises:
        UserError: If the language model is none.
    """
    check_positive(args, "beam")
    found = {name: value for name in _OPTIONS if (value := getattr(args, name)) is not None}
    if "hot_words" in found:
        found["hot_words"] = tuple(found["hot_words"])
    if "language_model" in found:
        found["language_model"], _ = load_model(
            args.language_model, args.device, LanguageModel, "which is no language model"
        )
    return found
