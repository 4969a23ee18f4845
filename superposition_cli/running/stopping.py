"""Stopping on request: the first signal lets the state be kept, the second ends at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from superposition_cli.errors import SpError
from superposition_cli.running.sweep import Interrupted

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(SpError):
    """A signal asked to stop and the state has been kept; exits 128 + the signal's number."""

    def __init__(self, problem: Interrupted, number: int) -> None:
        super().__init__(str(problem))
        self.exit_code = 128 + number


@contextmanager
def stoppable(tell: Callable[[str], None]) -> Iterator[threading.Event]:
    """Yield an event that the first signal sets; the second signal ends the process.

    Raises `Stopped` in place of the driver's `Interrupted`.
    """
    asked = threading.Event()
    received: list[int] = []

    def handle(number: int, _: object) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        asked.set()
        tell("stopping: the state is being kept; once more to quit at once")

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield asked
    except Interrupted as problem:
        raise Stopped(problem, received[0]) from problem
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
