"""Chunks trained in this process, one worker thread per core.

The compiled programs release the interpreter while they run and use one core each, so
several chunks advance side by side without waiting for one another.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from superposition_cli.grid import Chunk
from superposition_cli.sweep import Progress

Work = Callable[[Chunk, Callable[[Progress], None], Callable[[], bool]], None]


def local(
    chunks: Iterable[Chunk], work: Work, workers: int, stopping: Callable[[], bool]
) -> Iterator[Progress]:
    """Train `chunks` on `workers` threads and yield the news as it comes.

    The first failure stops the other workers at their next segment and is raised here.
    """
    todo, taking = iter(chunks), threading.Lock()
    news: queue.SimpleQueue[Progress | BaseException | None] = queue.SimpleQueue()
    failed = threading.Event()

    def labour() -> None:
        try:
            while not failed.is_set():
                with taking:
                    chunk = next(todo, None)
                if chunk is None:
                    break
                work(chunk, news.put, lambda: failed.is_set() or stopping())
        except BaseException as problem:
            failed.set()
            news.put(problem)
        news.put(None)

    threads = [threading.Thread(target=labour, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    running, problems = workers, []
    while running:
        item = news.get()
        if item is None:
            running -= 1
        elif isinstance(item, BaseException):
            problems.append(item)
        else:
            yield item
    if problems:
        raise problems[0]
