"""Entry point: finds the verb, and turns every error into one line and an exit code."""

import os
import re
import sys

from headway.core.errors import UserError, one_line

_WORKER = re.compile(r"in DataLoader worker process \d+\.\s+Original (Traceback.*)", re.DOTALL)
# A line of a traceback that is not indented names the class; the message may go on below it.
_RAISED = re.compile(r"^([A-Za-z_][\w.]*): (.*?)(?=^\S|\Z)", re.DOTALL | re.MULTILINE)
_OUT_OF_MEMORY = (
    "lower data.batch_size (trainer.accumulate_grad_batches makes up for it), the size of the model or of "
    "its inputs, or train in --trainer.precision bf16-mixed"
)
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
        if (far := error_of_worker(error)) is not None:
            name, text = far
            if name.startswith("headway."):
                return _say(text, WRONG_USE)
            return _say(f"{name}: {text}", FAILED)
        if is_out_of_memory(error):
            return _say(f"out of memory: {_OUT_OF_MEMORY}", FAILED)
        own = type(error).__module__.startswith("headway.")
        return _say(_line(error) if own else f"{type(error).__name__}: {_line(error)}", FAILED)


def error_of_worker(error: BaseException) -> tuple[str, str] | None:
    """Returns class and message of what went wrong in a worker that loads data; None if none did.

    A worker sends its error home as text, with its traceback in front.
    """
    match = _WORKER.search(str(error))
    if match is None:
        return None
    last = _RAISED.findall(match.group(1))
    return (last[-1][0], " ".join(last[-1][1].split())) if last else None


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it stands for, says that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if "can't allocate memory" in str(error) or "CUDA out of memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _user_error(error: BaseException | None) -> UserError | None:
    """Returns the user's mistake behind an error; the config parser wraps those of constructors."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    return one_line(error) or "no message"


def _say(line: str, code: int) -> int:
    print(f"headway: {line}", file=sys.stderr)
    return code
