"""The standard workloads, and how fast this machine advances them.

One step advances all models of a workload once: fresh batch, loss, gradient, AdamW. The
time is that of the real training programs, in the chunks and on the threads that a sweep
would use, without compilation, files or evaluation.
"""

import threading
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from superposition_cli.errors import InvalidInput
from superposition_cli.running import devices
from superposition_cli.running.devices import Machine
from superposition_cli.toy import train
from superposition_cli.toy.spec import Knobs, Spec, State

SCHEMA_VERSION = 1


class Workload(NamedTuple):
    """K models of one shape on a grid of densities and importances."""

    name: str
    models: int
    n_features: int
    n_hidden: int
    batch_size: int
    feature_probability: np.ndarray  # [K]
    importance: np.ndarray  # [K, n]


class Measurement(NamedTuple):
    """What a workload took."""

    ms_per_step: float  # the best of three stretches
    compile_seconds: float
    steps: int  # in each stretch


class _Chunk(NamedTuple):
    keys: Array
    knobs: Knobs
    state: State


def _workload(
    name: str, models: int, n: int, m: int, p: ArrayLike, importance: ArrayLike
) -> Workload:
    spread = np.broadcast_to(np.asarray(importance, float), (models, n))
    return Workload(name, models, n, m, 1024, np.asarray(p, float), spread)


def _phase() -> Workload:
    p, r = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(0.01, 1, 100), np.geomspace(0.1, 10, 100))
    )
    return _workload("phase", 10_000, 2, 1, p, np.stack([np.ones_like(r), r], 1))


def _notebook_densities(models: int) -> np.ndarray:
    return 20.0 ** -np.linspace(0, 1, models)


WORKLOADS = {
    one.name: one
    for one in (
        _workload("intro", 10, 5, 2, _notebook_densities(10), 0.9 ** np.arange(5)),
        _workload("small", 100, 20, 5, np.geomspace(1, 0.01, 100), 0.7 ** np.arange(20)),
        _workload("demo", 20, 100, 20, _notebook_densities(20), 100.0 ** -np.linspace(0, 1, 100)),
        _workload("geometry", 20, 400, 30, _notebook_densities(20), np.ones(400)),
        _phase(),
    )
}


def spec_of(workload: Workload, steps: int) -> Spec:
    """Return the program a workload compiles: relu_output, AdamW at 1e-3, decay 1e-2."""
    return Spec(
        model="relu_output",
        n_features=workload.n_features,
        n_hidden=workload.n_hidden,
        data="uniform",
        sets=(),
        anticorrelated_marginal="paper",
        target="identity",
        zero_based=True,
        constant=False,
        objective="sampled",
        order=2,
        sparse_hidden=False,
        attacked=False,
        loss_reduction="sum_features",
        optimizer="adamw",
        schedule="constant",
        init="xavier_normal",
        batch_size=workload.batch_size,
        steps=steps,
        eval_samples=workload.batch_size,
        dtype="float32",
    )


def measure(workload: Workload, steps: int | None = None, seconds: float = 2.0) -> Measurement:
    """Time a workload: milliseconds per step of all its models, best of three stretches.

    A stretch has `steps` steps, or as many as fill `seconds`.
    """
    machine = devices.this_machine()
    chunks = _chunks(workload, machine)
    begun = time.perf_counter()
    chunks, _ = _stretch(workload, chunks, machine, 1)
    if steps is None:
        chunks, _ = _stretch(workload, chunks, machine, 4)
        chunks, trial = _stretch(workload, chunks, machine, 4)
        steps = max(3, int(seconds / 3 / trial * 4))
    chunks, _ = _stretch(workload, chunks, machine, steps)
    compile_seconds = time.perf_counter() - begun
    best = np.inf
    for _ in range(3):
        chunks, taken = _stretch(workload, chunks, machine, steps)
        best = min(best, taken)
    return Measurement(best / steps * 1e3, max(0.0, compile_seconds - best), steps)


def train_to_end(workload: Workload, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Train a workload's models and return W [K, n, m] and b [K, n]."""
    machine = devices.this_machine()
    chunks, _ = _stretch(workload, _chunks(workload, machine), machine, steps)
    params = [jax.tree.map(np.asarray, chunk.state.params) for chunk in chunks]
    W = np.concatenate([one["W"] for one in params])[: workload.models]
    return W, np.concatenate([one["b"] for one in params])[: workload.models]


def _chunks(workload: Workload, machine: Machine) -> list[_Chunk]:
    """Cut a workload as a sweep would; the last chunk is filled up with copies."""
    spec = spec_of(workload, 1)
    size = devices.chunk_models(machine, spec, workload.models)
    starts = range(0, workload.models, size)
    picks = [np.minimum(np.arange(start, start + size), workload.models - 1) for start in starts]
    return [_chunk(workload, spec, pick) for pick in picks]


def _chunk(workload: Workload, spec: Spec, pick: np.ndarray) -> _Chunk:
    def constant(value: float) -> Array:
        return jnp.full(len(pick), value, jnp.float32)

    density = np.repeat(workload.feature_probability[pick, None], workload.n_features, 1)
    knobs = Knobs(
        feature_probability=jnp.asarray(density, jnp.float32),
        importance=jnp.asarray(workload.importance[pick], jnp.float32),
        low=constant(0),
        high=constant(1),
        learning_rate=constant(1e-3),
        weight_decay=constant(1e-2),
        warmup_steps=constant(0),
        momentum=constant(0.9),
        second_moment=constant(0.999),
        epsilon=constant(1e-8),
        init_instances=constant(1),
        init_scale=constant(1),
        hidden_l1=constant(0),
        adversarial_norm=constant(0),
    )
    words = np.stack([pick, pick], 1).astype(np.uint32)
    keys, _ = train.model_keys(words[:, 0] * 0, words, np.zeros(len(pick), bool), words[:, 0])
    return _Chunk(keys, knobs, train.start(train.TOY, spec, knobs, keys))


def _stretch(
    workload: Workload, chunks: list[_Chunk], machine: Machine, steps: int
) -> tuple[list[_Chunk], float]:
    """Advance every chunk by `steps` steps, side by side; return them and the seconds."""
    spec = spec_of(workload, steps)
    results = list(chunks)
    remaining, lock = iter(range(len(chunks))), threading.Lock()

    def worker() -> None:
        while True:
            with lock:
                index = next(remaining, None)
            if index is None:
                return
            keys, knobs, state = chunks[index]
            segment = train.run(train.TOY, spec, knobs, keys, state, range(steps))
            jax.block_until_ready(segment.loss)
            results[index] = _Chunk(keys, knobs, segment.state)

    threads = [threading.Thread(target=worker) for _ in range(machine.workers)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, time.perf_counter() - begun


def named(text: str) -> list[str]:
    """Return the workloads in a comma-separated list, all for none; refuse other names."""
    names = [name for name in text.split(",") if name] or list(WORKLOADS)
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        known = ", ".join(WORKLOADS)
        raise InvalidInput(f"--workloads {unknown[0]}: is not a workload; there are {known}")
    return names


def report(names: list[str], seconds: float) -> dict[str, object]:
    """Measure the named workloads and return what `sp bench` prints."""
    machine = devices.this_machine()
    rows = []
    for name in names:
        workload = WORKLOADS[name]
        taken = measure(workload, seconds=seconds)
        rows.append(
            {
                "name": name,
                "ms_per_step": taken.ms_per_step,
                "model_steps_per_second": workload.models / taken.ms_per_step * 1e3,
                "compile_seconds": taken.compile_seconds,
                "steps": taken.steps,
                "models": workload.models,
                "n_features": workload.n_features,
                "n_hidden": workload.n_hidden,
                "batch_size": workload.batch_size,
            }
        )
    about = {**machine._asdict(), "jax": jax.__version__}
    return {"schema_version": SCHEMA_VERSION, "machine": about, "workloads": rows}
