"""Does training know the basis of the hidden space?

Trained again from the same start, but rotated, on the same batches: gradient descent ends at
the rotated model, since the loss of a model without a hidden nonlinearity does not see the
rotation. Adam rescales coordinates one by one, which privileges their basis.
"""

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
from superposition_cli.toy import models, rng, train
from superposition_cli.toy.spec import Knobs, Spec, State

MOMENTS = 30  # at which the two trainings are compared, beside the end


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
        key = selection.stream(setting, rng.Use.EQUIVARIANCE)
        R = rotations.haar(key, spec.n_hidden).astype(spec.dtype)
        single = grid.knobs_of_one(setting, spec.dtype)
        knobs = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 2), single)
        keys = jnp.stack([selection.model_keys(setting)[0]] * 2)
        state = train.start(train.TOY, spec, knobs, keys)
        second = jax.tree.map(lambda leaf: leaf[1], state.params)
        turned = models.rotated(models.MODELS[spec.model].axes, second, R)
        begun = jax.tree.map(lambda leaf, other: leaf.at[1].set(other), state.params, turned)
        W = _course(spec, knobs, keys, state._replace(params=begun))
        plain, other = W[:, 0], W[:, 1]
        off = np.linalg.norm(other - plain @ np.asarray(R, np.float64).T, axis=(1, 2))
        return np.asarray(off / np.linalg.norm(plain, axis=(1, 2)))


def _course(spec: Spec, knobs: Knobs, keys: jax.Array, state: State) -> np.ndarray:
    """W of both models before some steps and after the last, [S + 1, 2, n, m]."""
    steps, keep = range(spec.steps), log_spaced(spec.steps, MOMENTS)
    segment = train.run(train.TOY, spec, knobs, keys, state, steps, keep)
    before = train.kept(segment.snapshots)["W"].astype(np.float64)
    return np.concatenate([before, np.asarray(segment.state.params["W"], np.float64)[None]])


ANALYSIS = Analysis(
    question="Does training know the basis of the hidden space?",
    needs=(
        needs.ROTATES,
        needs.at_least(needs.STEPS, 1, why="it trains again"),
        needs.same(needs.STEPS),
    ),
    runs_on="cpu",
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
