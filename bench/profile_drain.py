"""Where one pass over a full mailbox spends its time: the main thread by cProfile, in processor time.

PYTHONPATH=tests python bench/profile_drain.py [--mails 1000] [--sort tottime|cumulative] [--lines 60]
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy

from contenders import Site, Supportd
from corpus import mails
from post_office import PostOffice
from servers import PASSWORD
from sink import Sink
from supportd import config, log
from supportd.service import Service


def main() -> None:
    """Drain once with a profiler, and print."""
    parser = argparse.ArgumentParser(description="where one pass over a full mailbox spends its time")
    parser.add_argument("--mails", type=int, default=1000)
    parser.add_argument("--sort", choices=("tottime", "cumulative"), default="cumulative")
    parser.add_argument("--lines", type=int, default=60)
    parser.add_argument("--ours", action="store_true", help="only functions of supportd")
    parser.add_argument("--clean", action="store_true", help="without the profiler, for true times")
    chosen = parser.parse_args()
    office, sink, folder = PostOffice(), Sink(), Path(tempfile.mkdtemp(prefix="bench-profile-"))
    os.environ["SUPPORTD_BENCH_PASSWORD"] = PASSWORD
    try:
        office.store(mails(chosen.mails))
        office.fill(chosen.mails)
        Supportd().prepare(folder, Site(imap_port=office.dovecot.imap_port, smtp_port=sink.port))
        log.configure()
        service = Service(config.load(folder / "config.yaml"))
        statements: Counter[str] = Counter()
        commits: Counter[str] = Counter()
        _count_statements(service.database.engine, statements, commits)
        profile = cProfile.Profile(time.thread_time)
        wall, thread = time.perf_counter(), time.thread_time()
        summary = profile.runcall(service.once) if not chosen.clean else service.once()
        wall, thread = time.perf_counter() - wall, time.thread_time() - thread
        service.close()
        workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        sink.close()
        office.close()
        shutil.rmtree(folder, ignore_errors=True)
    if not chosen.clean:
        only = ["daemon/supportd"] if chosen.ours else []
        pstats.Stats(profile).sort_stats(chosen.sort).print_stats(*only, chosen.lines)
    count = chosen.mails
    print(summary)
    print(f"a mail: {1000 * wall / count:.2f} ms wall, {1000 * thread / count:.2f} ms CPU of the main thread")
    print(f"waited-for children: {1000 * (workers.ru_utime + workers.ru_stime) / count:.2f} ms CPU a mail")
    print(f"statements a mail: {sum(statements.values()) / count:.1f}; ends a mail: {dict(commits)}")
    for text, times in statements.most_common(70):
        print(f"{times / count:6.2f}  {' '.join(text.split())[:170]}")


def _count_statements(engine: Any, statements: Counter[str], commits: Counter[str]) -> None:
    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def _before(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements[statement] += 1

    @sqlalchemy.event.listens_for(engine, "commit")
    def _commit(connection: Any) -> None:
        commits["write" if connection.get_execution_options().get("immediate") else "read"] += 1


if __name__ == "__main__":
    main()
