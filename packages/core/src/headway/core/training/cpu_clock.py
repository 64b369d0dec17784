"""The CPU time that a run has cost: all threads, and the processes that load its data."""

import multiprocessing
import os
import time
from contextlib import suppress
from pathlib import Path


class CpuClock:
    """Counts process CPU time in minutes, across the parts of a run that was continued.

    Args:
        minutes: What earlier parts of the run have cost.
    """

    def __init__(self, minutes: float = 0.0) -> None:
        self._before = minutes
        self._start = _seconds()

    def minutes(self) -> float:
        """Returns CPU minutes, summed over threads and loading processes, since the run began."""
        return self._before + (_seconds() - self._start) / 60


def _seconds() -> float:
    children = os.times()
    ended = children.children_user + children.children_system
    running = sum(_of_process(child.pid) for child in multiprocessing.active_children())
    return time.process_time() + ended + running


def _of_process(pid: int | None) -> float:
    """Returns the CPU seconds of a process that still runs (Linux; 0 elsewhere)."""
    with suppress(OSError, ValueError, IndexError):
        # The name in brackets may hold spaces; the fields after it are fixed (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
