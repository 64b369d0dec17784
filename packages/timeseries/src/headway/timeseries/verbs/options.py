"""Options that the verbs of time series share."""

import argparse


def add_freq(parser: argparse.ArgumentParser) -> None:
    """Adds ``--freq``."""
    parser.add_argument(
        "--freq",
        help="step of time, such as h, D, B (business days), W-MON or MS (default: read from the stamps); "
        "rows that are not there are missing values",
    )
