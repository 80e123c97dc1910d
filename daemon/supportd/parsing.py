"""Reads mail in disposable worker processes, so that the worst mail costs its own reading and nothing else.

A worker has 256 MiB of address space, 5 s of CPU and 20 s of wall time for each mail, an empty environment and no open
connection.  What dies of its own limit is Unparseable at once: trying again would end the same way.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pebble
from pebble import ProcessExpired, ProcessPool

from supportd.core.headers import BLOCK_BYTES
from supportd.core.model import Mail, Unparseable
from supportd.core.parse import envelope, parse

MEMORY_BYTES = 256 * 1024 * 1024
CPU_SECONDS = 5
WALL_SECONDS = 20
# A mail beyond this is known by its headers alone (reliability.md 4.2).
MESSAGE_BYTES = 15_000_000
# A worker is replaced after so many mails, before fragments of memory add up to its limit: 2 MB after a thousand.
MAILS_PER_WORKER = 1000
# How often the pool looks whether a worker died or is late; at its own 0.1 s it takes 8 s of processor time an idle
# hour, at this 2 s.  Mails and their answers wake it at once.
pebble.CONSTS.sleep_unit = 0.5


class WorkerDied(Exception):
    """A worker ended for another reason than its own limits (killed from outside, a fault in a C library)."""


class Reader:
    """A pool of workers around *parser*.  Safe to use from several threads; *close* it when done."""

    def __init__(
        self,
        workers: int = 2,
        message_bytes: int = MESSAGE_BYTES,
        parser: Callable[[bytes], Mail | Unparseable] = parse,
    ) -> None:
        self.message_bytes = message_bytes
        self.header_bytes = BLOCK_BYTES
        self._workers = workers
        self._parser = parser
        self._lock = threading.Lock()
        self._pool = self._started()

    def read(self, raw: bytes) -> Mail | Unparseable:
        """Return the message *raw*, read in a worker.

        Raises:
            WorkerDied: the worker died, and not of the mail's own limits; the caller counts an attempt.
        """
        return self.submit(raw).result()

    def submit(self, raw: bytes) -> Future[Mail | Unparseable]:
        """Return a future of what `read` would return or raise."""
        if len(raw) > self.message_bytes:
            return self.submit_envelope(raw, len(raw))
        return self._schedule(raw, 0)

    def submit_envelope(self, headers: bytes, size: int) -> Future[Mail | Unparseable]:
        """Return a future of the Mail for an oversize message: *headers* are its beginning, *size* is in bytes."""
        return self._schedule(headers[: self.header_bytes], size)

    def close(self) -> None:
        """End the workers; what they were reading is given up."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _started(self) -> ProcessPool:
        # A fork server starts a worker in some 10 ms, with the parser already loaded and nothing of the daemon's
        # connections in it; fork alone would copy those, and locks that other threads hold.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", "supportd.core.parse"])
        return ProcessPool(max_workers=self._workers, max_tasks=MAILS_PER_WORKER, initializer=_confine, context=context)

    def _schedule(self, data: bytes, oversize_bytes: int) -> Future[Mail | Unparseable]:
        answer: Future[Mail | Unparseable] = Future()
        arguments = (self._parser, data, oversize_bytes, CPU_SECONDS)
        with self._lock:
            try:
                task = self._pool.schedule(_read, args=arguments, timeout=WALL_SECONDS)
            except (RuntimeError, BrokenProcessPool):  # the pool itself is broken: a new one, once
                self._pool.stop()  # type: ignore[no-untyped-call]
                self._pool = self._started()
                task = self._pool.schedule(_read, args=arguments, timeout=WALL_SECONDS)
        task.add_done_callback(lambda done: _translate(done, answer))
        return answer


def _translate(done: Future[Mail | Unparseable], answer: Future[Mail | Unparseable]) -> None:
    """Hand the outcome of a worker on: its limits are an answer, any other death is an exception."""
    if done.cancelled():
        answer.set_exception(WorkerDied("the pool was closed"))
        return
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    elif isinstance(error, TimeoutError):
        answer.set_result(Unparseable(reason=f"reading it takes longer than {WALL_SECONDS} seconds"))
    elif isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGXCPU:
        answer.set_result(Unparseable(reason=f"reading it takes more than {CPU_SECONDS} seconds of processor time"))
    else:
        died = WorkerDied(f"{type(error).__name__}: {error}")
        died.__cause__ = error
        answer.set_exception(died)


def _confine() -> None:
    """Take from a new worker what reading mail does not need (runs in the worker)."""
    os.environ.clear()  # passwords may stand in it
    logging.disable()  # a library that warns would write words of the mail into the journal
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold mail


def _read(
    parser: Callable[[bytes], Mail | Unparseable], data: bytes, oversize_bytes: int, cpu_seconds: int
) -> Mail | Unparseable:
    """Return what *data* says, within the processor time of one mail (runs in the worker)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + cpu_seconds  # whole seconds; the part that is lost is the mail's
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
    try:
        return envelope(data, oversize_bytes) if oversize_bytes else parser(data)
    except MemoryError:
        return Unparseable(reason="reading it takes more memory than there is for one mail")
    finally:
        # Handing the answer over is not the mail's time: to die then would break the pipe that workers share.
        resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
