"""Are features directions, and is what represents them linear?

The linear representation hypothesis, put to each cell's best model: whether the hidden
activation of a sum is the sum of the hidden activations, what a linear probe reads from it,
what the model's own read-out gains on that, and whether adding a feature's vector raises
that feature's output. Inputs are drawn anew. Source: Elhage et al. 2022, "Linear
representations" and "Superposition as a hypothesis".
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from superposition_cli.analyses.findings import Finding
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.running import grid
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.theory import linear
from superposition_cli.toy import data, metrics, models, rng, train
from superposition_cli.toy.spec import Knobs, Params, Spec

SAMPLES, BATCH = 131_072, 8_192  # for each of the three draws; interventions take one batch
LINEAR_HIDDEN = ("linear", "relu_output")  # models with h = Wᵀx


class Moments(NamedTuple):
    """Means and second central moments of inputs x [n, B] and hidden activations h [m, B]."""

    x: np.ndarray  # [n]
    h: np.ndarray  # [m]
    variance: np.ndarray  # [n], of x
    hidden: np.ndarray  # [m, m]
    crossed: np.ndarray  # [m, n]


def linearity(results: Results) -> Finding:
    """Return how linear the representation of the selected model of each cell is.

    Rows: see `of_embedding` and `of_activations`; read_out_ratio is the loss by that of the
    best linear read-out of the same hidden activations, Σ_i I_i σ_i² (1 - R²_i), null where
    that reads everything.

    Arrays: probe_r2 and probe_expected [cells, n], the R² of linear probes on held-out
    samples and in closed form (NaN for a hidden layer that is not linear); response
    [cells, n, n], the mean change of output j as W_i is added; specificity and norms
    [cells, n]; cell [cells].

    Raises `InvalidInput` for targets other than the inputs, where n_features differs between
    cells and where none has a selected model. Cells without one are left out.
    """
    settings = [results.plan.setting(cell) for cell in results.selected]
    check(settings)
    rows, arrays = [], []
    for (cell, number), setting in zip(results.selected.items(), settings, strict=True):
        params = results.model(number)
        measured, found = of_activations(setting, params)
        ratio = read_out_ratio(setting, float(results.cells["loss"][cell]), found["probe_r2"])
        embedded = of_embedding(params["W"])
        row = {**results.plan.assignment(cell), **embedded, **measured, "read_out_ratio": ratio}
        rows.append(row)
        arrays.append(found)
    stacked = {name: np.stack([one[name] for one in arrays]) for name in arrays[0]}
    return Finding(
        overall(rows), tuple(rows), {**stacked, "cell": np.array(list(results.selected))}
    )


def check(settings: list[Setting]) -> None:
    """Raise `InvalidInput` where a run has nothing to ask or cells that do not compare."""
    if not settings:
        raise InvalidInput("linearity needs a selected model in at least one cell")
    if any(one.data.target != "identity" for one in settings):
        raise InvalidInput("linearity is for the target identity: probes read the inputs")
    if len({one.model.n_features for one in settings}) > 1:
        raise InvalidInput("linearity needs the same n_features in every cell")


def overall(rows: list[dict[str, Any]]) -> dict[str, float | int | None]:
    """Return the extremes over cells; what is about h = Wᵀx is null without such cells."""
    linear = [row for row in rows if row["probe_deviation"] is not None]
    return {
        "cells": len(rows),
        "linear_gap_most": max((row["additivity_gap"] for row in linear), default=None),
        "probe_deviation_most": max((row["probe_deviation"] for row in linear), default=None),
        "probe_sum_off_most": max((row["probe_sum_off"] for row in linear), default=None),
        "steered_least": min(
            (s for row in rows if (s := row["steered"]) is not None), default=None
        ),
    }


def of_embedding(W: np.ndarray) -> dict[str, Any]:
    """Measure W [n, m] in double precision.

    superposed: the represented features are more than the rank of their vectors, so that
    their matrix of inner products cannot be inverted. negative_weights: Σ W_ik² over negative
    entries by that over all, 0 for the zero matrix.
    """
    W = np.asarray(W, np.float64)
    kept = W[np.linalg.norm(W, axis=1) > metrics.REPRESENTED_NORM]
    s = np.linalg.svd(kept, compute_uv=False)
    rank = int((s > metrics.RANK_CUT * s[0]).sum()) if len(kept) else 0
    energy = float((W**2).sum())
    negative = float((np.minimum(W, 0) ** 2).sum())
    return {
        "represented": len(kept),
        "rank": rank,
        "superposed": len(kept) > rank,
        "negative_weights": negative / energy if energy else 0.0,
    }


def of_activations(setting: Setting, params: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Measure the hidden activations of one model and what its outputs make of them.

    additivity_gap: see `additivity`, in the dtype of the run. probe_sum: Σ R²_i;
    probe_deviation and probe_sum_off: the largest |R²_i - expected| and |Σ R²_i / Σ expected
    - 1|, null unless h = Wᵀx. steered: share of represented features whose own output rises
    most as W_i is added to h; specificity_mean: mean over them of `specificity`; both null
    with nothing represented. The arrays are those of `linearity`.
    """
    spec = grid.spec_of(setting)
    of_fit, of_held_out, of_gap, of_steering = rng.parts(key_of(setting), 4)
    gap = _gap(spec, grid.knobs_of_one(setting, spec.dtype), params, of_gap)
    with jax.enable_x64(True):
        knobs = grid.knobs_of_one(setting, "float64")
        double = {name: jnp.asarray(leaf, jnp.float64) for name, leaf in params.items()}
        fit, held_out = (_moments(spec, knobs, double, one) for one in (of_fit, of_held_out))
        covariance = np.asarray(data.moments(spec, knobs).covariance)
        response = np.asarray(_steer(spec, knobs, double, of_steering))
    found, expected = probe_r2(fit, held_out), np.full(len(covariance), np.nan)
    measured: dict[str, Any] = {"probe_deviation": None, "probe_sum_off": None}
    if spec.model in LINEAR_HIDDEN:
        expected = linear.linear_probe_r2(params["W"], covariance)
        measured["probe_deviation"] = float(np.abs(found - expected).max())
        measured["probe_sum_off"] = float(abs(found.sum() / expected.sum() - 1))
    norms, specific = np.linalg.norm(params["W"], axis=1), specificity(response)
    measured |= {"additivity_gap": gap, "probe_sum": float(found.sum())}
    measured |= of_response(response, specific, norms > metrics.REPRESENTED_NORM)
    arrays = {"probe_r2": found, "probe_expected": expected, "response": response}
    return measured, {**arrays, "specificity": specific, "norms": norms}


def key_of(setting: Setting) -> Array:
    """Return the key that a cell's models are evaluated with; to be folded before use."""
    alone = np.zeros(1, np.int64)
    members = grid.Members(alone, alone, alone, alone, [setting])
    return train.model_keys(*grid.roots_of(members))[1][0]


def additivity(hidden: Callable[[Array], Array], x: Array, y: Array) -> Array:
    """Return Σ ‖h(x+y) - h(x) - h(y)‖² and Σ ‖h(x+y)‖² over samples, [2].

    For x, y [n, B] of disjoint supports. Samples in which x or y is zero are left out: the
    sum has then nothing to add. The first by the second is the additivity gap.
    """
    both = jnp.any(x != 0, axis=0) & jnp.any(y != 0, axis=0)
    whole = hidden(x + y)
    gap = whole - hidden(x) - hidden(y)
    return jnp.stack([jnp.sum(jnp.where(both, part**2, 0)) for part in (gap, whole)])


def probe_r2(fit: Moments, held_out: Moments) -> np.ndarray:
    """Return the R² on one set of samples of least squares of x_i on h on another, [n].

    NaN for a feature that does not vary.
    """
    slope = np.linalg.pinv(fit.hidden, linear.FAINT, hermitian=True) @ fit.crossed
    shift = held_out.x - fit.x - slope.T @ (held_out.h - fit.h)
    explained = 2 * slope * held_out.crossed - slope * (held_out.hidden @ slope)
    error = held_out.variance - explained.sum(axis=0) + shift**2
    varies = held_out.variance > 0
    return np.where(varies, 1 - error / np.where(varies, held_out.variance, 1), np.nan)


def read_out_ratio(setting: Setting, loss: float, r2: np.ndarray) -> float | None:
    """Return the loss by Σ_i I_i σ_i² (1 - R²_i), None where that is no loss to speak of."""
    with jax.enable_x64(True):
        knobs = grid.knobs_of_one(setting, "float64")
        variance = np.diagonal(data.moments(grid.spec_of(setting), knobs).covariance)
    parts = np.asarray(knobs.importance) * variance
    left = float(np.sum(parts * (1 - r2)))
    return loss / left if left > linear.FAINT * float(np.sum(parts)) else None


def specificity(response: np.ndarray) -> np.ndarray:
    """Return the share of its own output in what each feature's vector changes: [n, n] -> [n].

    Δ_ii / Σ_j |Δ_ij|, response Δ_ij the change of output j as W_i is added. NaN where nothing
    changes.
    """
    total = np.abs(response).sum(axis=1)
    return np.where(total > 0, np.diagonal(response) / np.where(total > 0, total, 1), np.nan)


def of_response(
    response: np.ndarray, specific: np.ndarray, represented: np.ndarray
) -> dict[str, float | None]:
    """Average over represented features, [n] of bool; null where there are none."""
    if not represented.any():
        return {"steered": None, "specificity_mean": None}
    own_rises_most = response.argmax(axis=1) == np.arange(len(response))
    return {
        "steered": float(own_rises_most[represented].mean()),
        "specificity_mean": float(np.nanmean(specific[represented])),
    }


def _gap(spec: Spec, knobs: Knobs, params: Arrays, key: Array) -> float:
    """The additivity gap over all samples; 0 where there is nothing to add up."""
    parts = [_dealt(spec, knobs, params, jax.random.fold_in(key, t)) for t in _batches()]
    gap, whole = np.sum(np.asarray(parts, np.float64), axis=0)
    return float(gap / whole) if whole > 0 else 0.0


def _moments(spec: Spec, knobs: Knobs, params: Params, key: Array) -> Moments:
    """The moments of x and h over all samples; the key is consumed."""
    parts = [_raw_moments(spec, knobs, params, jax.random.fold_in(key, t)) for t in _batches()]
    mean, second = (np.mean([np.asarray(one[k]) for one in parts], axis=0) for k in range(2))
    central, n = second - np.outer(mean, mean), spec.n_features
    variance, crossed = np.diagonal(central)[:n], central[n:, :n]
    return Moments(mean[:n], mean[n:], variance, central[n:, n:], crossed)


def _batches() -> range:
    return range(SAMPLES // BATCH)


@partial(jax.jit, static_argnums=0)
def _dealt(spec: Spec, knobs: Knobs, params: Params, key: Array) -> Array:
    """`additivity` of one batch, each active feature dealt to x or to y by a fair coin."""
    of_data, of_coins = rng.parts(key, 2)
    drawn = data.SAMPLERS[spec.data].draw(spec, knobs, of_data, BATCH)
    coin = rng.uniform(of_coins, drawn.shape, drawn.dtype) < 1 / 2
    hidden = partial(models.MODELS[spec.model].hidden, params)
    return additivity(hidden, jnp.where(coin, drawn, 0), jnp.where(coin, 0, drawn))


@partial(jax.jit, static_argnums=0)
def _raw_moments(spec: Spec, knobs: Knobs, params: Params, key: Array) -> tuple[Array, Array]:
    """Mean [n + m] and second moment [n + m, n + m] of x and h over one batch."""
    x = data.SAMPLERS[spec.data].draw(spec, knobs, key, BATCH)
    both = jnp.concatenate([x, models.MODELS[spec.model].hidden(params, x)])
    return jnp.mean(both, axis=1), jnp.matmul(both, both.T, precision="highest") / BATCH


@partial(jax.jit, static_argnums=0)
def _steer(spec: Spec, knobs: Knobs, params: Params, key: Array) -> Array:
    """Mean change of output j over one batch as W_i is added to h, [n, n] with i first."""
    model = models.MODELS[spec.model]
    h = model.hidden(params, data.SAMPLERS[spec.data].draw(spec, knobs, key, BATCH))
    before = model.read_out(params, h)

    def changed(vector: Array) -> Array:
        return jnp.mean(model.read_out(params, h + vector[:, None]) - before, axis=1)

    return jax.lax.map(changed, model.embedding(params))
