"""Chunks trained in this process, one worker thread per core.

The compiled programs release the interpreter while they run and use one core each, so
several chunks advance side by side without waiting for one another.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from superposition_cli.running import sweep
from superposition_cli.running.sweep import Progress, Stopping

Reports = queue.SimpleQueue[Progress | BaseException | None]  # None: one worker has ended


def local(
    path: Path, numbers: Iterable[int], workers: int, stopping: Stopping
) -> Iterator[Progress]:
    """Train chunks of a run on `workers` threads and yield the progress as it comes.

    The first failure stops the other workers at their next segment and is raised here.
    """
    reports: Reports = queue.SimpleQueue()
    remaining, lock, failed = iter(numbers), threading.Lock(), threading.Event()

    def next_chunk() -> int | None:
        with lock:
            return None if failed.is_set() else next(remaining, None)

    def worker() -> None:
        try:
            while (number := next_chunk()) is not None:
                sweep.run_chunk(path, number, reports.put, lambda: failed.is_set() or stopping())
        except BaseException as problem:
            failed.set()
            reports.put(problem)
        reports.put(None)

    for _ in range(workers):
        threading.Thread(target=worker, daemon=True).start()
    yield from _until_all_end(reports, workers)


def _until_all_end(reports: Reports, workers: int) -> Iterator[Progress]:
    """Yield progress until every worker has ended; then raise the first failure, if any."""
    problems = []
    while workers:
        item = reports.get()
        if item is None:
            workers -= 1
        elif isinstance(item, BaseException):
            problems.append(item)
        else:
            yield item
    if problems:
        raise problems[0]
