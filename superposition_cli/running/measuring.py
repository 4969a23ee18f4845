"""Metrics of a finished run that it was not trained with, from its saved weights.

They are kept beside the chunks, which never change: `added/<chunk>.safetensors`.
"""

from collections.abc import Iterable
from functools import partial

import jax
import numpy as np

from superposition_cli.running import grid, tables
from superposition_cli.running.folder import Run
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.grid import Chunk, Plan
from superposition_cli.running.records import axes
from superposition_cli.toy import evaluate, train


def measure(run: Run, plan: Plan, names: Iterable[str]) -> tuple[str, ...]:
    """Compute the named metrics that a run lacks, and rebuild its tables; return which these are.

    The caller holds the folder's lock; every chunk is committed. Models are judged on the samples
    that they were judged on before.
    """
    wanted = tuple(dict.fromkeys(names))
    lacking: set[str] = set()
    for chunk in plan.chunks:
        there = run.read(chunk.number, "metrics")
        missing = tuple(name for name in wanted if name not in there)
        if missing:
            kind = plan.groups[chunk.group].spec.model
            run.add_metrics(chunk.number, _measured(run, plan, chunk, missing), partial(axes, kind))
            lacking |= set(missing)
    found = tuple(name for name in wanted if name in lacking)
    if found:
        run.log("measured", metrics=list(found))
        tables.write(run, plan)
    return found


def _measured(run: Run, plan: Plan, chunk: Chunk, names: tuple[str, ...]) -> Arrays:
    """The named metrics of a chunk's models, copies left out."""
    spec, members = plan.groups[chunk.group].spec, plan.members(chunk)
    stored = run.read(chunk.number, "weights")
    with jax.enable_x64(spec.dtype == "float64"):
        _, keys = train.compiled(train.model_keys, (), *grid.roots_of(members))
        last = np.minimum(np.arange(chunk.size), chunk.n_models - 1)  # as `members` fills it up
        params = {name: array[last] for name, array in stored.items() if name != "model"}
        given = (grid.knobs_of(members, spec.dtype), keys, params)
        judged = train.compiled(evaluate.judge, (spec, names), *given)
    return {name: np.asarray(judged[name])[: chunk.n_models] for name in names}
