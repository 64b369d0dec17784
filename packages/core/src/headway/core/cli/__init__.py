"""The ``headway`` program."""

from headway.core.cli.main import main

__all__ = ["main"]
