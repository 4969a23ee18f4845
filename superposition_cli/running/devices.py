"""What the machine offers, and how many models to advance together on it.

On a CPU a chunk should fit in cache and several chunks run side by side, one per core; on
an accelerator a chunk should fill the memory.
"""

import contextlib
import math
import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import jax

from superposition_cli.toy import evaluate, rng, train
from superposition_cli.toy.models import MODELS
from superposition_cli.toy.objectives import OBJECTIVES
from superposition_cli.toy.spec import Spec, any_knobs

CACHE_BYTES = 4 << 20  # working set of a chunk on one core that the caches still serve
ACCELERATOR_SHARE = 0.5  # of the device memory, for one chunk
SEGMENT_SECONDS = 1.5  # aimed at; a segment must stay under five
CPU_RATE = 1.5e9  # multiply-adds per second and core, taken low on purpose
ACCELERATOR_RATE = 2e12  # likewise, of all it has: small models are bound by its memory
LEAST_GRADIENTS = 100  # of a segment on an accelerator, which waits for Python between two
LOSS_SHARE = 0.25  # of a chunk's memory, beside it, for the losses of a segment
KEY_BYTES = 16  # of the two keys of a model
PAIRS = 4  # arrays [n, n] that judging a model takes at once
CGROUP = "/sys/fs/cgroup"
FEW_PAIRS = 1 << 28  # numbers; the few arrays of them that judging makes take a few GiB
SEARCHES = 20  # gradients that a step of L-BFGS may take, searching along a line

P = ParamSpec("P")
R = TypeVar("R")


class Machine(NamedTuple):
    """The device that trains: its kind, how many chunks at once, bytes for one chunk."""

    platform: str
    device: str
    n_devices: int
    workers: int
    chunk_bytes: int


def this_machine() -> Machine:
    """Return what JAX trains on here."""
    device = this_device()
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if device.platform == "cpu":
        return Machine("cpu", device.device_kind, len(jax.devices("cpu")), cores, CACHE_BYTES)
    memory = (device.memory_stats() or {}).get("bytes_limit", 8 << 30)
    share = int(memory * ACCELERATOR_SHARE)
    return Machine(device.platform, device.device_kind, len(jax.devices()), 1, share)


def this_device() -> jax.Device:
    """Return the device that this thread's arrays and programs go to unless told otherwise."""
    chosen = train.default_device()
    return chosen if isinstance(chosen, jax.Device) else jax.devices(chosen)[0]


def on_cpu() -> contextlib.AbstractContextManager[object]:
    """Return a context whose arrays and programs go to the CPU.

    Nothing changes where they do anyway, or where JAX was started without it.
    """
    with contextlib.suppress(RuntimeError):  # JAX_PLATFORMS leaves the CPU out
        if this_device().platform != "cpu":
            return jax.default_device(jax.devices("cpu")[0])
    return contextlib.nullcontext()


def as_here(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that runs in any thread on the device of this one."""
    chosen = train.default_device()

    def placed(*args: P.args, **named: P.kwargs) -> R:
        with jax.default_device(chosen):
            return function(*args, **named)

    return placed


def model_bytes(spec: Spec) -> int:
    """Bytes one model works on in a step: batch-sized arrays and four copies of parameters.

    Three arrays [n, B] (input, error, its gradient) and two [m, B], B from `batch`.
    """
    wide = (3 * spec.n_features + 2 * spec.n_hidden) * batch(spec)
    return (wide + 4 * parameters(spec)) * (8 if spec.dtype == "float64" else 4)


def planned_bytes(machine: Machine, spec: Spec, snapshots: int) -> int:
    """Return the bytes of memory that one model is expected to take while it trains."""
    if machine.platform == "cpu":
        return model_bytes(spec) + 4 * parameters(spec) * (snapshots + 1)
    return resident_bytes(spec, snapshots)


def resident_bytes(spec: Spec, snapshots: int = 0) -> int:
    """Bytes one model takes of an accelerator's memory, from its start until it is judged.

    What it carries (parameters, the optimiser's memory, so many snapshots and scratch, its
    settings and keys, the losses of a segment of the least length), and the larger of what a step
    works on, its gradient and update among it, and what judging does: slices of models have the
    batches of `evaluate.judge`, all of them may have their pairs of features.
    """
    size = 8 if spec.dtype == "float64" else 4
    losses = size * min(spec.steps, least_steps(spec))
    held = _state_bytes(spec) + losses + size * parameters(spec) * (snapshots + 1)
    held += sum(leaf.nbytes for leaf in any_knobs(spec)) + KEY_BYTES
    judged = size * (PAIRS * spec.n_features**2 + 4 * parameters(spec))
    return held + max(model_bytes(spec) + size * batch(spec) * spec.n_features, judged)


@cache
def _state_bytes(spec: Spec) -> int:
    """Bytes of the parameters of one model and of the optimiser's memory of them."""
    with jax.enable_x64(spec.dtype == "float64"):
        one = jax.tree.map(lambda leaf: leaf[None], (any_knobs(spec), rng.key(0)))
        state = jax.eval_shape(partial(train.start, train.TOY, spec), *one)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def judging_bytes(spec: Spec, metrics: tuple[str, ...], n_models: int) -> int:
    """Bytes that judging so many models takes at once, as the compiler counts them.

    Not asked for features whose pairs have room anyway: `FEW_PAIRS` numbers. The program is
    kept for the judging itself.
    """
    if n_models * spec.n_features**2 < FEW_PAIRS:
        return 0
    with jax.enable_x64(spec.dtype == "float64"):
        each = jax.eval_shape(partial(MODELS[spec.model].init, spec), any_knobs(spec), rng.key(0))
        shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((n_models, *leaf.shape), leaf.dtype),
            (any_knobs(spec), rng.key(0), each),
        )
        size = train.program(evaluate.judge, (spec, metrics), *shapes).memory_analysis()
    return int(size.temp_size_in_bytes + size.output_size_in_bytes) if size else 0


def available_bytes(machine: Machine) -> float:
    """Bytes of memory that a program may take: the device's own, or what the system has left."""
    if machine.platform != "cpu":
        return int(machine.chunk_bytes / ACCELERATOR_SHARE)
    return min(_free_memory(), _room_in_container())


def _free_memory() -> int:
    """What the system has left, or all it has where it does not tell."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(one.split()[1]) << 10 for one in lines if one.startswith("MemAvailable"))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _room_in_container() -> int | float:
    """What the limit on this process' group leaves; without end where there is none."""
    with contextlib.suppress(OSError, ValueError):
        limit, used = (Path(CGROUP, name).read_text() for name in ("memory.max", "memory.current"))
        return int(limit) - int(used)
    return math.inf


def batch(spec: Spec) -> int:
    """Return how many inputs a step looks at, or does the work of looking at."""
    work = OBJECTIVES[spec.objective].work
    return work(spec) if work else spec.batch_size


@cache
def parameters(spec: Spec) -> int:
    """Count the parameters of one model."""
    begin = partial(MODELS[spec.model].init, spec)
    with jax.enable_x64(spec.dtype == "float64"):
        arrays = jax.eval_shape(begin, any_knobs(spec), rng.key(0))
    return sum(math.prod(leaf.shape) for leaf in arrays.values())


def chunk_models(machine: Machine, spec: Spec, n_models: int, snapshots: int = 0) -> int:
    """Return how many models of `spec` to advance together, keeping so many snapshots of each.

    As many as fit: on a CPU what a step works on counts, on an accelerator all there is of them
    until they are judged, in chunks of equal size, and at least one chunk per worker; the number
    of chunks is a multiple of the workers where that costs nothing.
    """
    each = model_bytes(spec) if machine.platform == "cpu" else resident_bytes(spec, snapshots)
    fit = max(1, machine.chunk_bytes // each)
    chunks = max(math.ceil(n_models / fit), min(machine.workers, n_models))
    rounded = math.ceil(chunks / machine.workers) * machine.workers
    return math.ceil(n_models / min(rounded, n_models))


def segment_steps(machine: Machine, spec: Spec, n_models: int) -> int:
    """Return how many steps to take between two looks at the clock.

    On an accelerator `least_steps` at least, however long these take, and their losses within
    `LOSS_SHARE`. A divisor of `spec.steps` where one is near, so that one program serves all
    segments.
    """
    work = n_models * batch(spec) * spec.n_features * (5 * spec.n_hidden + 20)
    work *= SEARCHES if spec.optimizer == "lbfgs" else 1
    on_cpu = machine.platform == "cpu"
    least = 1 if on_cpu else least_steps(spec)
    wanted = int(SEGMENT_SECONDS * (CPU_RATE if on_cpu else ACCELERATOR_RATE) / work)
    if not on_cpu:
        losses = n_models * (8 if spec.dtype == "float64" else 4)
        wanted = min(wanted, int(LOSS_SHARE * machine.chunk_bytes / losses))
    longest = max(1, min(spec.steps, max(wanted, least)))
    shortest = max(longest // 2 + 1, min(least, longest))
    near = (length for length in range(longest, shortest - 1, -1) if spec.steps % length == 0)
    return next(near, longest)


def least_steps(spec: Spec) -> int:
    """Return the fewest steps of a segment on an accelerator: `LEAST_GRADIENTS` gradients."""
    return LEAST_GRADIENTS // (SEARCHES if spec.optimizer == "lbfgs" else 1)
