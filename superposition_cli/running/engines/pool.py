"""Chunks trained by processes of their own: one for each core, or for each GPU.

A worker is the command `sp work RUN --numbers -`, which reads numbers of chunks from its standard
input and writes what it has done, a line of JSON each, on its standard output: nothing but data
crosses. A worker that is killed loses nothing that was committed; its chunk goes to another.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from superposition_cli.errors import SpError
from superposition_cli.running.sweep import Interrupted, Progress, Stopping

SP = (sys.executable, "-c", "from superposition_cli.cli import main; main()")
TRIES = 3  # of one chunk, by workers that are killed
LOOK_SECONDS = 0.5  # between two looks at whether to stop


class WorkerFailed(SpError):
    """A worker ended with a failure of its own; the message is what it said."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Worker:
    """One process, and the chunk it has in hand."""

    def __init__(self, path: Path, slot: int, more: Sequence[str], news: "News") -> None:
        self.slot = slot
        self.chunk: int | None = None
        self.said: deque[str] = deque(maxlen=20)
        command = [*SP, "work", str(path), "--numbers", "-", "--json", "--quiet", *more]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment(slot)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.threads = [threading.Thread(target=self._listen, args=(news,), daemon=True)]
        self.threads.append(threading.Thread(target=self._keep_words, daemon=True))
        for thread in self.threads:
            thread.start()

    def _listen(self, news: "News") -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            news.put(Message(self, Progress(**json.loads(line))))
        self.process.wait()
        news.put(Message(self, None))

    def _keep_words(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(self.process.stderr)

    def give(self, number: int) -> None:
        """Give it a chunk to train."""
        self.chunk = number
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has just been killed: the news say so
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()

    def dismiss(self) -> None:
        """Let it end after what it has in hand."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def close(self) -> None:
        """Wait until it has ended and let its streams go."""
        self.dismiss()
        self.process.wait()
        for thread in self.threads:
            thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def lost(self, path: Path, tries: Counter[int]) -> int | None:
        """Return the chunk that one that was killed had in hand; None where there was none.

        Raises `WorkerFailed` where it failed by itself, or chunks were killed with too often.
        """
        if self.process.returncode > 0:
            words = "".join(self.said).strip() or f"a worker ended with {self.process.returncode}"
            raise WorkerFailed(words.removeprefix("sp: "), self.process.returncode)
        if self.chunk is not None:
            tries[self.chunk] += 1
            if tries[self.chunk] >= TRIES:
                raise WorkerFailed(f"{path}: chunk {self.chunk} killed its workers", 1)
        return self.chunk


class Message(NamedTuple):
    """What a worker has done, or None when it has ended."""

    worker: Worker
    progress: Progress | None


News = queue.SimpleQueue[Message]


def environment(slot: int) -> Mapping[str, str]:
    """What a worker's process is told before it imports JAX: its own GPU, or one thread."""
    if jax.default_backend() == "cpu":
        return {"OMP_NUM_THREADS": "1"}
    seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(len(jax.devices()))))
    names = seen.split(",")
    return {"CUDA_VISIBLE_DEVICES": names[slot % len(names)]}


def pool(
    path: Path,
    numbers: Sequence[int],
    workers: int,
    stopping: Stopping,
    more: Sequence[str] = (),
) -> Iterator[Progress]:
    """Train chunks of a run by so many processes and yield the progress as it comes.

    Args:
        path: the run folder.
        numbers: of the chunks.
        workers: how many processes; no more than there are chunks.
        stopping: asked all the while.
        more: further words of the workers' command, such as `--use FILE.py`.

    Yields:
        What is done, in the order it is heard of.

    Raises:
        Interrupted: `stopping` turned true; the workers have kept their states.
        WorkerFailed: one ended with a failure, or was killed with one chunk too often.
    """
    waiting, tries, news = deque(numbers), Counter[int](), queue.SimpleQueue[Message]()
    alive = {Worker(path, slot, more, news) for slot in range(min(workers, len(waiting)))}
    try:
        for worker in alive:
            worker.give(waiting.popleft())
        while alive:
            worker, progress = _next(news, stopping)
            if progress is not None:
                yield progress
                if progress.finished:
                    worker.chunk = None
                    _occupy(worker, waiting)
                continue
            alive.remove(worker)
            worker.close()
            if (number := worker.lost(path, tries)) is not None:
                alive.add(fresh := Worker(path, worker.slot, more, news))
                fresh.give(number)
    finally:
        _end(alive)


def _next(news: News, stopping: Stopping) -> Message:
    """Wait for news; raise `Interrupted` when asked to stop."""
    while True:
        if stopping():
            raise Interrupted("stopped; the same command goes on from here")
        with contextlib.suppress(queue.Empty):
            return news.get(timeout=LOOK_SECONDS)


def _occupy(worker: Worker, waiting: deque[int]) -> None:
    """Give a worker the next chunk, or let it go."""
    if waiting:
        worker.give(waiting.popleft())
    else:
        worker.dismiss()


def _end(alive: set[Worker]) -> None:
    """Ask all workers to keep their states and end, and wait until they have."""
    for worker in alive:
        worker.dismiss()
        worker.process.terminate()
    for worker in alive:
        worker.close()
