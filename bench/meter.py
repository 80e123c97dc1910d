"""Runs a command and says what it and every process that it started have cost.

python bench/meter.py RESULT.json COMMAND [ARGUMENT ...]

It adopts what the command leaves behind (PR_SET_CHILD_SUBREAPER), such as workers of a fork server, and waits for it,
so that the kernel's own sums for children are those of the whole tree.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run the command; exit as it does."""
    result, *command = sys.argv[1:]
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise SystemExit("this kernel has no subreapers")
    started = time.monotonic()
    first = os.fork()
    if first == 0:
        os.execvp(command[0], command)
    status, wall_seconds, main_kilobytes = 0, 0.0, 0
    while True:
        try:
            ended, code, used = os.wait4(-1, 0)
        except ChildProcessError:
            break
        if ended == first:
            wall_seconds = time.monotonic() - started
            status, main_kilobytes = os.waitstatus_to_exitcode(code), used.ru_maxrss
    tree = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(result, "w", encoding="utf-8") as file:
        figures = {
            "status": status,
            "wall_seconds": wall_seconds,
            "cpu_seconds": tree.ru_utime + tree.ru_stime,
            "main_megabytes": main_kilobytes / 1024,
            "largest_megabytes": tree.ru_maxrss / 1024,
        }
        json.dump(figures, file)
    sys.exit(status if 0 <= status < 256 else 1)


if __name__ == "__main__":
    main()
