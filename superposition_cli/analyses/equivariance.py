"""Does training know the basis of the hidden space?

Trained again from the same start, but rotated, on the same batches: gradient descent ends at
the rotated model, since the loss of a model without a hidden nonlinearity does not see the
rotation. Adam rescales coordinates one by one, which privileges their basis.
"""

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import rotations
from superposition_cli.running import grid
from superposition_cli.running.history import log_spaced
from superposition_cli.running.results import Results
from superposition_cli.toy import models, rng, train
from superposition_cli.toy.spec import Knobs, Spec, State

MOMENTS = 30  # at which the two trainings are compared, beside the end


def equivariance(results: Results) -> Finding:
    """Return how far training from W₀ Rᵀ ends from W_T Rᵀ, for each cell's first restart.

    error: ‖W'_T - W_T Rᵀ‖ / ‖W_T‖ after the last step, R a rotation from the Haar law, the
    same for all cells of a seed and m. Arrays: step [S], error [cells, S] before those steps.

    Raises `InvalidInput` for m = 1, for models that were not trained, and where cells differ
    in their number of steps.
    """
    plan = results.plan
    settings = [plan.setting(cell) for cell in range(plan.experiment.n_cells)]
    if min(one.model.n_hidden for one in settings) < 2:
        raise InvalidInput("equivariance needs n_hidden of at least 2: a line has no rotations")
    if len({one.train.steps for one in settings}) > 1 or not settings[0].train.steps:
        raise InvalidInput("equivariance needs cells trained for one number of steps")
    found = [errors(setting) for setting in settings]
    rows = tuple(
        {**plan.assignment(cell), "error": float(error[-1])} for cell, error in enumerate(found)
    )
    step = np.append(log_spaced(settings[0].train.steps, MOMENTS), settings[0].train.steps)
    return Finding({"cells": len(rows)}, rows, {"step": step, "error": np.stack(found)})


def errors(setting: Setting) -> np.ndarray:
    """Return the relative error of one setting before some steps and after the last, [S + 1]."""
    spec = grid.spec_of(setting)
    with jax.enable_x64(spec.dtype == "float64"):
        key = jax.random.fold_in(rng.key(setting.seed), rng.Use.EQUIVARIANCE)
        R = rotations.haar(key, spec.n_hidden).astype(spec.dtype)
        own = grid.knobs_of_one(setting, spec.dtype)
        knobs = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 2), own)
        one = train.model_keys(*grid.roots_of_one(setting))[0][0]
        keys = jnp.stack([one, one])
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
