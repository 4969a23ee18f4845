"""The driver: chunks of models, advanced segment by segment, judged, committed.

A segment is a few seconds of one compiled program; between two segments there is time to
report, to keep the state on disk, and to stop. The numbers do not depend on where the
boundaries fall.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef

from superposition_cli.errors import SpError
from superposition_cli.running import grid, launch, tables
from superposition_cli.running.folder import Run
from superposition_cli.running.grid import Chunk, Plan
from superposition_cli.running.history import History, snapshot_steps
from superposition_cli.running.measuring import measure
from superposition_cli.running.records import axes, records
from superposition_cli.toy import evaluate, train
from superposition_cli.toy.spec import Knobs, Spec, State

SAVE_EVERY_SECONDS = 30.0


class Progress(NamedTuple):
    """What has been done of one chunk since its last report; plain data."""

    chunk: int
    models: int
    model_steps: int
    finished: bool
    diverged: int


class Work(NamedTuple):
    """One chunk being trained: what stays the same from segment to segment."""

    run: Run
    chunk: Chunk
    model: np.ndarray
    spec: Spec
    knobs: Knobs
    keys: jax.Array
    eval_keys: jax.Array
    segment: int
    metrics: tuple[str, ...]
    snapshot_steps: np.ndarray


class Carry(NamedTuple):
    """What goes from segment to segment."""

    step: int
    state: State
    snapshots: train.Snapshots
    history: History


class Interrupted(SpError):
    """Training was asked to stop; the state has been kept."""


Report = Callable[[Progress], None]
Stopping = Callable[[], bool]
Engine = Callable[[Path, Sequence[int], int, Stopping], Iterator[Progress]]


def run_chunk(path: Path, number: int, report: Report, stopping: Stopping) -> None:
    """Train one chunk to its end and commit it, from where it was left if it was begun.

    Data in, data out: any process that sees the folder may be asked, several for one chunk too,
    and at any time again. A sound chunk is left as it is, a damaged one moved aside.

    Args:
        path: the run folder.
        number: of the chunk.
        report: called with the model-steps of every segment, then once as finished.
        stopping: asked before every segment.

    Returns:
        Nothing; the folder holds the chunk.

    Raises:
        Interrupted: `stopping` turned true on the way; the state has been kept.
        FolderRefused: a symbolic link is where the chunk belongs.
        OutOfResources: the folder cannot be written.
    """
    run, plan = opened(path)
    chunk = plan.chunks[number]
    spec = plan.groups[chunk.group].spec
    if is_sound(run, number):
        done = chunk.n_models * spec.steps
        report(Progress(number, chunk.n_models, done, True, run.done(number)["diverged"]))
        return
    with jax.enable_x64(spec.dtype == "float64"):
        work = _prepare(run, plan, chunk, spec)
        carry = _resume(work) or _begin(work)
        report(Progress(number, chunk.n_models, carry.step * chunk.n_models, False, 0))
        saved = time.monotonic()
        while carry.step < spec.steps:
            if stopping():
                _keep(work, carry)
                raise Interrupted(f"{run.path}: stopped; the same command goes on from here")
            if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                _keep(work, carry)
                saved = time.monotonic()
            before = carry.step
            carry = _advance(work, carry)
            done = (carry.step - before) * chunk.n_models
            report(Progress(number, chunk.n_models, done, False, 0))
        diverged = _commit(work, carry)
    report(Progress(number, chunk.n_models, 0, True, diverged))


def opened(path: Path) -> tuple[Run, Plan]:
    """Return a folder, as one of several processes at work in it, and its plan."""
    try:
        made = (path / "run.json").stat().st_mtime_ns
    except OSError:
        made = 0
    return _opened(path, made)


@lru_cache(maxsize=2)
def _opened(path: Path, made: int) -> tuple[Run, Plan]:
    """The same, once in a process for a folder as it was made."""
    run, plan = launch.load(path)
    return run.shared(), plan


def _prepare(run: Run, plan: Plan, chunk: Chunk, spec: Spec) -> Work:
    members = plan.members(chunk)
    knobs = grid.knobs_of(members, spec.dtype)
    keys, eval_keys = train.compiled(train.model_keys, (), *grid.roots_of(members))
    experiment = plan.experiment
    return Work(
        run,
        chunk,
        plan.models(chunk),
        spec,
        knobs,
        keys,
        eval_keys,
        run.manifest["groups"][chunk.group]["segment_steps"],
        tuple(run.manifest["metrics"]),
        snapshot_steps(spec.steps, experiment.base.train.snapshots),
    )


def _fresh(work: Work, knobs: Knobs, keys: jax.Array) -> tuple[State, train.Snapshots]:
    state = train.start(train.TOY, work.spec, knobs, keys)
    return state, train.empty_snapshots(state.params, work.snapshot_steps)


def _begin(work: Work) -> Carry:
    history = History(work.spec.steps, work.chunk.size)
    return Carry(0, *_fresh(work, work.knobs, work.keys), history)


def _resume(work: Work) -> Carry | None:
    """Read the state that was kept, if it is there and fits."""
    kept = work.run.load_partial(work.chunk.number)
    if kept is None:
        return None
    step, arrays = kept
    names, tree = _named(jax.eval_shape(partial(_fresh, work), work.knobs, work.keys))
    if any(name not in arrays or arrays[name].shape != leaf.shape for name, leaf in names.items()):
        work.run.log("partial_refused", chunk=work.chunk.number, step=step)
        return None
    history = History(work.spec.steps, work.chunk.size)
    history.restore(arrays)
    leaves = [jnp.asarray(arrays[name], leaf.dtype) for name, leaf in names.items()]
    state, snapshots = jax.tree.unflatten(tree, leaves)
    return Carry(step, state, snapshots, history)


def _keep(work: Work, carry: Carry) -> None:
    names, _ = _named((carry.state, carry.snapshots))
    arrays = {name: np.asarray(leaf) for name, leaf in names.items()}
    work.run.save_partial(work.chunk.number, carry.step, {**arrays, **carry.history.arrays()})


def _named(tree: tuple[State, train.Snapshots]) -> tuple[dict[str, jax.Array], PyTreeDef]:
    """Name the leaves of a tree by their paths."""
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in paths}, structure


def _advance(work: Work, carry: Carry) -> Carry:
    count = min(work.segment, work.spec.steps - carry.step)
    given = (work.spec, work.knobs, work.keys, carry.state)
    steps = range(carry.step, carry.step + count)
    segment = train.run(train.TOY, *given, steps, work.snapshot_steps, carry.snapshots)
    carry.history.add(carry.step, np.asarray(segment.loss))
    return Carry(carry.step + count, segment.state, segment.snapshots, carry.history)


def _commit(work: Work, carry: Carry) -> int:
    """Judge the models and acknowledge the chunk; return how many diverged."""
    spec, state = work.spec, carry.state
    arrays = (work.knobs, work.eval_keys, state.params)
    judged = train.compiled(evaluate.judge, (spec, work.metrics), *arrays)
    snapshots = train.kept(carry.snapshots)
    parts = records(spec, work.model, state, snapshots, work.snapshot_steps, carry.history, judged)
    diverged = int((parts.metrics["finite_steps"] < spec.steps).sum())
    facts = {"models": work.chunk.n_models, "diverged": diverged, "steps": spec.steps}
    work.run.commit(work.chunk.number, parts._asdict(), partial(axes, spec.model), facts)
    return diverged


def is_sound(run: Run, number: int) -> bool:
    """Say whether a chunk is there and passes its checksums; a damaged one is moved aside."""
    if not run.chunk_folder(number).exists():
        return False
    fault = run.fault(number)
    if fault is None:
        return True
    moved = run.quarantine(number)
    run.log("quarantined", chunk=number, fault=fault, moved_to=moved.name)
    return False


def pending(run: Run, plan: Plan) -> list[int]:
    """Return the numbers of the chunks still to train; damaged ones are moved aside."""
    return [chunk.number for chunk in plan.chunks if not is_sound(run, chunk.number)]


def run_all(
    run: Run, plan: Plan, engine: Engine, workers: int, stopping: Stopping
) -> Iterator[Progress]:
    """Train what is missing and yield the progress; write the tables when all is done.

    The caller holds the folder's lock. Raises `Interrupted` when asked to stop.
    """
    run.clean_up()
    todo = pending(run, plan)
    run.log("started", chunks=len(plan.chunks), pending=len(todo))
    run.set_status("running", models=plan.n_models)

    try:
        for progress in engine(run.path, todo, workers, stopping):
            if progress.finished:
                run.log("committed", chunk=progress.chunk, diverged=progress.diverged)
            yield progress
    except BaseException as problem:
        state = "stopped" if isinstance(problem, Interrupted) else "failed"
        run.log(state, reason=str(problem).splitlines()[0] if str(problem) else repr(problem))
        run.set_status(state, models=plan.n_models)
        raise
    finish(run, plan)


def finish(run: Run, plan: Plan) -> int:
    """Write the tables of a run whose chunks are all committed; return how many models diverged.

    The caller holds the folder's lock.
    """
    diverged = sum(run.done(chunk.number)["diverged"] for chunk in plan.chunks)
    if not measure(run, plan, plan.experiment.metrics):
        tables.write(run, plan)
    run.clean_up()
    run.log("complete", models=plan.n_models, diverged=diverged)
    run.set_status("complete", models=plan.n_models, diverged=diverged)
    return diverged
