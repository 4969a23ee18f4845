"""How a trainer is timed: whole calls, after one that does not count."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Timing(NamedTuple):
    """One timed round of one trainer; the same fields as `superposition_cli.bench.Measurement`."""

    ms_per_step: float
    compile_seconds: float
    steps: int


def time_calls(
    call: Callable[[], object],
    steps_per_call: int,
    seconds: float,
    compile_seconds: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Repeat `call` until `seconds` have passed, at least once, after one warm-up call.

    `call` must return only when its `steps_per_call` optimisation steps are finished.
    """
    call()
    steps, start = 0, clock()
    while True:
        call()
        steps += steps_per_call
        elapsed = clock() - start
        if elapsed >= seconds:
            return Timing(1e3 * elapsed / steps, compile_seconds, steps)


def fastest(call: Callable[[], object], seconds: float, at_least: int = 3) -> float:
    """Seconds of the fastest of several calls made within `seconds`, after one warm-up call."""
    call()
    best, count, end = float("inf"), 0, time.perf_counter() + seconds
    while count < at_least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        count += 1
    return best
