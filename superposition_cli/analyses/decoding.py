"""Does sparse recovery read more out of a hidden vector than the model's own decoder does?

Inputs drawn as in training are decoded from the hidden vectors of each cell's selected model
by the non-negative solution of least sum, and by the model itself; and, as a yardstick, from
a random embedding of the same size. (Non-negative least squares alone has many solutions
here; an active-set solver happens to return sparse ones.)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import decoders
from superposition_cli.running import grid
from superposition_cli.running.results import Results
from superposition_cli.toy import data, models, rng, train

SAMPLES = 2048
ITERATIONS = 800
DECODERS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "sparse": partial(decoders.basis_pursuit, nonnegative=True, iterations=ITERATIONS),
    "lasso": partial(decoders.fista, penalty=0.01, nonnegative=True, iterations=ITERATIONS),
    "omp": decoders.omp,
}
EXACT = 1e-3  # relative error up to which an input is recovered


def decoding(results: Results) -> Finding:
    """Return mean squared errors and exact recoveries of each cell's selected model.

    Rows: mse_model, mse_sparse, mse_lasso and mse_omp, mean over inputs of ‖x - x̂‖², by the
    model, the non-negative solution of least sum, the non-negative lasso at a price of .01, and
    orthogonal matching pursuit; sparse_ratio, the second by the first; exact_sparse, the share
    of non-zero inputs whose relative error is below 1e-3, and exact_random the same with a
    Gaussian embedding. Arrays: p and these [cells].

    Raises `InvalidInput` for models other than relu_output, and inputs that may be negative.
    """
    check(results)
    rows = []
    for cell, number in results.selected.items():
        setting = results.plan.setting(cell)
        found = measured(setting, results.model(number))
        p = float(np.mean(setting.marginal()))
        rows.append({**results.plan.assignment(cell), "p": p, **found})
    names = ("p", *(f"mse_{one}" for one in ("model", *DECODERS)), "exact_sparse", "exact_random")
    arrays = {name: np.array([row[name] for row in rows], float) for name in names}
    return Finding({"cells": len(rows)}, tuple(rows), arrays)


def check(results: Results) -> None:
    """Raise `InvalidInput` where a run has no such decoders."""
    if not results.selected:
        raise InvalidInput("decoding needs a selected model in at least one cell")
    for cell in results.selected:
        setting = results.plan.setting(cell)
        if setting.model.kind != "relu_output":
            raise InvalidInput(f"decoding is for relu_output, not {setting.model.kind}")
        if setting.data.low < 0:
            raise InvalidInput("decoding needs inputs that are not negative: data.low >= 0")


def measured(setting: Setting, params: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the row of one model, without its axes."""
    spec, knobs = grid.spec_of(setting), grid.knobs_of_one(setting, "float32")
    key = train.model_keys(*grid.roots_of_one(setting))[1][0]
    single = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in params.items()}
    found = train.compiled(_errors, (spec,), knobs, key, single)
    named = {name: float(value) for name, value in found.items()}
    own = named["mse_model"]
    return {**named, "sparse_ratio": named["mse_sparse"] / own if own > 0 else None}


@partial(jax.jit, static_argnums=0)
def _errors(spec: Any, knobs: Any, key: jax.Array, params: Any) -> dict[str, jax.Array]:
    of_data, of_random = rng.parts(key, 2)
    x = data.SAMPLERS[spec.data].draw(spec, knobs, of_data, SAMPLES)
    model = models.MODELS[spec.model]
    W = model.embedding(params)
    Phi = jax.random.normal(of_random, W.shape)
    there = jnp.any(x > 0, axis=0)

    def solved(name: str, W: jax.Array) -> jax.Array:
        return jax.vmap(partial(DECODERS[name], W), in_axes=1, out_axes=1)(W.T @ x)

    def exact(found: jax.Array) -> jax.Array:
        close = jnp.linalg.norm(found - x, axis=0) < EXACT * jnp.linalg.norm(x, axis=0)
        return jnp.sum(close & there) / jnp.maximum(jnp.sum(there), 1)

    answers = {"model": model.apply(params, x), **{name: solved(name, W) for name in DECODERS}}
    found = {f"mse_{name}": jnp.mean(jnp.sum((y - x) ** 2, axis=0)) for name, y in answers.items()}
    found["exact_sparse"] = exact(answers["sparse"])
    return {**found, "exact_random": exact(solved("sparse", Phi))}
