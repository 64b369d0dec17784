"""Errors whose message is meant for the person at the keyboard."""


class UserError(ValueError):
    """A mistake in what the user gave; its message names the value, the limit and the remedy.

    The command line prints it as one line and exits with 2; no traceback.
    """
