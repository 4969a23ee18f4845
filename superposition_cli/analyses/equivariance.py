"""Does training know the basis of the hidden space?

Trained again from the same start, but rotated, on the same batches: gradient descent ends at
the rotated model, since the loss of a model without a hidden nonlinearity does not see the
rotation. Adam rescales coordinates one by one, which privileges their basis.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding
from superposition_cli.config import Setting
from superposition_cli.measures import rotations
from superposition_cli.running import grid
from superposition_cli.running.history import log_spaced
from superposition_cli.running.results import Results
from superposition_cli.toy import models, train
from superposition_cli.toy.spec import State

MOMENTS = 30  # at which the two trainings are compared, beside the end
STREAM = 0x65717569  # what the seed's key is folded with; restarts never count so far


def equivariance(results: Results) -> Finding:
    """Return how far training from W₀ Rᵀ ends from W_T Rᵀ, for each cell's first restart.

    R is a rotation from the Haar law, the same for all cells of a seed and m.
    """
    settings = selection.settings(results)
    off = [errors(setting) for setting in settings]
    rows = tuple(
        {**results.plan.assignment(cell), "error": float(error[-1])}
        for cell, error in enumerate(off)
    )
    step = np.append(log_spaced(settings[0].train.steps, MOMENTS), settings[0].train.steps)
    return Finding({"cells": len(rows)}, rows, {"step": step, "error": np.stack(off)})


def errors(setting: Setting) -> np.ndarray:
    """Return the relative error of one setting before some steps and after the last, [S + 1]."""
    spec = grid.spec_of(setting)
    with jax.enable_x64(spec.dtype == "float64"):
        key = selection.stream(setting, STREAM)
        R = rotations.haar(key, spec.n_hidden).astype(spec.dtype)
        single = grid.knobs_of_one(setting, spec.dtype)
        knobs = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 2), single)
        keys = jnp.stack([selection.model_keys(setting)[0]] * 2)
        state = train.start(spec, knobs, keys)
        turned = models.rotated(jax.tree.map(lambda leaf: leaf[1], state.params), R)
        begun = jax.tree.map(lambda leaf, other: leaf.at[1].set(other), state.params, turned)
        W = _course(spec, knobs, keys, state._replace(params=begun))
        plain, other = W[:, 0], W[:, 1]
        off = np.linalg.norm(other - plain @ np.asarray(R, np.float64).T, axis=(1, 2))
        return np.asarray(off / np.linalg.norm(plain, axis=(1, 2)))


def _course(spec: Any, knobs: Any, keys: jax.Array, state: State) -> np.ndarray:
    """W of both models before some steps and after the last, [S + 1, 2, n, m]."""
    kept_steps = log_spaced(spec.steps, MOMENTS)
    steps = np.arange(spec.steps, dtype=np.int32)
    row = np.searchsorted(kept_steps, steps)
    padded = np.append(kept_steps, -1)
    slots = np.where(padded[row] == steps, row, len(kept_steps)).astype(np.int32)
    rows = len(kept_steps) + 1
    kept = jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype), state.params)
    segment = train.compiled(train.advance, (spec,), steps, slots, knobs, keys, state, kept)
    before = np.asarray(segment.snapshots["W"], np.float64)[:-1]
    return np.concatenate([before, np.asarray(segment.state.params["W"], np.float64)[None]])


ANALYSIS = Analysis(
    question="Does training know the basis of the hidden space?",
    needs=(
        needs.ROTATES,
        needs.at_least(needs.STEPS, 1, why="it trains again"),
        needs.same(needs.STEPS),
    ),
    runs_on="any",
    keys=Keys(
        numbers={"cells": Key("cells of the run")},
        rows={"error": Key("‖W'_T - W_T Rᵀ‖ / ‖W_T‖ after the last step")},
        arrays={
            "step": Key("updates made so far", "steps", "[S]"),
            "error": Key("the same after so many updates", shape="[C, S]"),
        },
    ),
    compute=equivariance,
)
