"""Entry point: finds the verb, and turns every error into one line and an exit code."""

import os
import sys

from headway.core.errors import UserError

FAILED = 1
WRONG_USE = 2


def main(args: list[str] | None = None) -> int:
    """Runs the program.

    Args:
        args: Words of the command line without the program's name; by default those of the process.

    Returns:
        0, 1 (failed) or 2 (wrong use). ``HEADWAY_TRACEBACK=1`` lets exceptions through.
    """
    try:
        # Imported here: an error of the import is reported like any other.
        from headway.core.cli.verbs import run

        return run(sys.argv[1:] if args is None else list(args))
    except SystemExit as stop:
        # argparse has written its own line.
        return stop.code if isinstance(stop.code, int) else FAILED if stop.code else 0
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing may be written on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("HEADWAY_TRACEBACK") == "1":
            raise
        if (wrong := _user_error(error)) is not None:
            return _say(_line(wrong), WRONG_USE)
        own = type(error).__module__.startswith("headway.")
        return _say(_line(error) if own else f"{type(error).__name__}: {_line(error)}", FAILED)


def _user_error(error: BaseException | None) -> UserError | None:
    """Returns the user's mistake behind an error; the config parser wraps those of constructors."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no message"


def _say(line: str, code: int) -> int:
    print(f"headway: {line}", file=sys.stderr)
    return code
