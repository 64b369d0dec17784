"""Errors whose message is meant for the person at the keyboard."""


class UserError(ValueError):
    """A mistake in what the user gave; its message names the value, the limit and the remedy.

    The command line prints it as one line and exits with 2; no traceback.

    Args:
        message: One line; breaks in what it quotes (a name out of a file) become spaces.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(" ".join(message.splitlines()))


class InputError(UserError):
    """One input of many that cannot be used; the message names it.

    Args:
        name: The file, or the file and the row.
        reason: What is wrong with it.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str]]:
        # Worker processes send their errors home by pickle.
        return type(self), (self.name, self.reason)


def one_line(error: BaseException) -> str:
    """Returns the message of an error of another library, without line breaks."""
    return " ".join(str(error).split())
