"""Chunks trained in this process, one worker thread per core.

The compiled programs release the interpreter while they run and use one core each, so
several chunks advance side by side without waiting for one another.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from superposition_cli.running.grid import Chunk
from superposition_cli.running.sweep import Progress

Work = Callable[[Chunk, Callable[[Progress], None], Callable[[], bool]], None]


def local(
    chunks: Iterable[Chunk], work: Work, workers: int, stopping: Callable[[], bool]
) -> Iterator[Progress]:
    """Train `chunks` on `workers` threads and yield the news as it comes.

    The first failure stops the other workers at their next segment and is raised here.
    """
    news: queue.SimpleQueue[Progress | BaseException | None] = queue.SimpleQueue()
    todo, taking, failed = iter(chunks), threading.Lock(), threading.Event()

    def take() -> Chunk | None:
        with taking:
            return None if failed.is_set() else next(todo, None)

    def labour() -> None:
        try:
            while (chunk := take()) is not None:
                work(chunk, news.put, lambda: failed.is_set() or stopping())
        except BaseException as problem:
            failed.set()
            news.put(problem)
        news.put(None)

    for _ in range(workers):
        threading.Thread(target=labour, daemon=True).start()
    yield from _until_all_end(news, workers)


def _until_all_end(
    news: "queue.SimpleQueue[Progress | BaseException | None]", workers: int
) -> Iterator[Progress]:
    """Yield news until every worker has ended; then raise the first failure, if any."""
    problems = []
    while workers:
        item = news.get()
        if item is None:
            workers -= 1
        elif isinstance(item, BaseException):
            problems.append(item)
        else:
            yield item
    if problems:
        raise problems[0]
