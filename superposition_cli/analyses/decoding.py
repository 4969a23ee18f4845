"""Does sparse recovery read more out of a hidden vector than the model's own decoder does?

Inputs drawn as in training are decoded from the hidden vectors of each cell's selected model
by the non-negative solution of least sum, and by the model itself; and, as a yardstick, from
a random embedding of the same size. (Non-negative least squares alone has many solutions
here; an active-set solver happens to return sparse ones.)
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.config import Setting
from superposition_cli.measures import decoders
from superposition_cli.running import grid
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.toy import data, models, rng, train
from superposition_cli.toy.spec import Knobs, Params, Spec

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

    Sparse is the non-negative solution of least sum, the lasso is non-negative too, at a price
    of .01, and omp is orthogonal matching pursuit. An input is recovered up to a relative error
    of 1e-3.
    """
    rows = []
    for model in selection.selected(results, "decoding"):
        p = float(np.mean(model.setting.marginal()))
        rows.append({**model.axes, "p": p, **measured(model.setting, model.params)})
    arrays = {name: np.array([row[name] for row in rows], float) for name in COLUMNS}
    return Finding({"cells": len(rows)}, tuple(rows), arrays)


def measured(setting: Setting, params: Arrays) -> Row:
    """Return the row of one model, without its axes."""
    spec, knobs = grid.spec_of(setting), grid.knobs_of_one(setting, "float32")
    _, key = selection.model_keys(setting)
    single = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in params.items()}
    errors = train.compiled(_errors, (spec,), knobs, key, single)
    named = {name: float(value) for name, value in errors.items()}
    by_model = named["mse_model"]
    return {**named, "sparse_ratio": named["mse_sparse"] / by_model if by_model > 0 else None}


@partial(jax.jit, static_argnums=0)
def _errors(spec: Spec, knobs: Knobs, key: jax.Array, params: Params) -> dict[str, jax.Array]:
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
    errors = {f"mse_{name}": jnp.mean(jnp.sum((y - x) ** 2, axis=0)) for name, y in answers.items()}
    errors["exact_sparse"] = exact(answers["sparse"])
    return {**errors, "exact_random": exact(solved("sparse", Phi))}


MSE = "mean of ‖x - x̂‖² over inputs, decoded"
COLUMNS = {
    "p": Key("mean probability that a feature is active"),
    "mse_model": Key(f"{MSE} by the model", "x²"),
    "mse_sparse": Key(f"{MSE} by the non-negative solution of least sum", "x²"),
    "mse_lasso": Key(f"{MSE} by the non-negative lasso", "x²"),
    "mse_omp": Key(f"{MSE} by orthogonal matching pursuit", "x²"),
    "exact_sparse": Key("share of non-zero inputs that the solution of least sum recovers"),
    "exact_random": Key("the same with a Gaussian embedding"),
}
ANALYSIS = Analysis(
    question=(
        "Does sparse recovery read more out of a hidden vector than the model's own decoder does?"
    ),
    needs=(
        needs.RELU_OUTPUT,
        needs.at_least(needs.LOW, 0, why="inputs are not negative"),
    ),
    runs_on="any",
    keys=Keys(
        numbers={"cells": CELLS},
        rows={**COLUMNS, "sparse_ratio": Key("mse_sparse by mse_model; null where that is 0")},
        arrays={name: key._replace(shape="[C]") for name, key in COLUMNS.items()},
    ),
    compute=decoding,
)
