"""Are features directions, and is what represents them linear?

The linear representation hypothesis, put to each cell's best model: whether the hidden
activation of a sum is the sum of the hidden activations, what a linear probe reads from it,
what the model's own read-out gains on that, and whether adding a feature's vector raises
that feature's output. Inputs are drawn anew. Source: Elhage et al. 2022, "Linear
representations" and "Superposition as a hypothesis".
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELL, CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.config import Setting
from superposition_cli.running import grid
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.theory import linear
from superposition_cli.toy import data, metrics, models, rng
from superposition_cli.toy.spec import Knobs, Params, Spec

SAMPLES, BATCH = 131_072, 8_192  # for each of the three draws; interventions take one batch


class Moments(NamedTuple):
    """Means and second central moments of inputs x [n, B] and hidden activations h [m, B]."""

    x: np.ndarray  # [n]
    h: np.ndarray  # [m]
    variance: np.ndarray  # [n], of x
    hidden: np.ndarray  # [m, m]
    crossed: np.ndarray  # [m, n]


def linearity(results: Results) -> Finding:
    """Return how linear the representation of the selected model of each cell is.

    The best linear read-out of the same hidden activations costs Σ_i I_i σ_i² (1 - R²_i):
    read_out_ratio is null where that reads everything. Cells without a selected model are left
    out.
    """
    models = selection.selected(results, "linearity")
    rows, arrays = [], []
    for model in models:
        params = model.params
        measured, of_features = of_activations(model.setting, params)
        ratio = read_out_ratio(model.setting, model.recorded("loss"), of_features["probe_r2"])
        embedded = of_embedding(params["W"])
        rows.append({**model.axes, **embedded, **measured, "read_out_ratio": ratio})
        arrays.append(of_features)
    stacked = {name: np.stack([each[name] for each in arrays]) for name in arrays[0]}
    cell = np.array([model.cell for model in models])
    return Finding(overall(rows), tuple(rows), {**stacked, "cell": cell})


def overall(rows: Sequence[Row]) -> dict[str, float | int | None]:
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


def of_embedding(W: np.ndarray) -> Row:
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


def of_activations(setting: Setting, params: Arrays) -> tuple[Row, Arrays]:
    """Measure the hidden activations of one model and what its outputs make of them.

    `additivity` is in the dtype of the run, the rest in float64. What probes are expected to
    read is null unless h = Wᵀx, and so are steered and specificity_mean with nothing
    represented. The arrays are those of `linearity`.
    """
    spec, (_, key) = grid.spec_of(setting), selection.model_keys(setting)
    of_fit, of_held_out, of_gap, of_steering = rng.parts(key, 4)
    gap = _gap(spec, grid.knobs_of_one(setting, spec.dtype), params, of_gap)
    with jax.enable_x64(True):
        knobs = grid.knobs_of_one(setting, "float64")
        double = {name: jnp.asarray(leaf, jnp.float64) for name, leaf in params.items()}
        fit, held_out = (_moments(spec, knobs, double, one) for one in (of_fit, of_held_out))
        covariance = np.asarray(data.moments(spec, knobs).covariance)
        response = np.asarray(_steer(spec, knobs, double, of_steering))
    r2, expected = probe_r2(fit, held_out), np.full(len(covariance), np.nan)
    measured: dict[str, float | None] = {"probe_deviation": None, "probe_sum_off": None}
    if models.MODELS[spec.model].linear_hidden:
        expected = linear.linear_probe_r2(params["W"], covariance)
        measured["probe_deviation"] = float(np.abs(r2 - expected).max())
        measured["probe_sum_off"] = float(abs(r2.sum() / expected.sum() - 1))
    norms, specific = np.linalg.norm(params["W"], axis=1), specificity(response)
    measured |= {"additivity_gap": gap, "probe_sum": float(r2.sum())}
    measured |= of_response(response, specific, norms > metrics.REPRESENTED_NORM)
    arrays = {"probe_r2": r2, "probe_expected": expected, "response": response}
    return measured, {**arrays, "specificity": specific, "norms": norms}


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
    """Return the loss by Σ_i I_i σ_i² (1 - R²_i), None where that is 0 up to rounding."""
    variance = np.diagonal(selection.covariance(setting))
    parts = np.array(setting.importance(), float) * variance
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
    return jnp.mean(both, axis=1), both @ both.T / BATCH


@partial(jax.jit, static_argnums=0)
def _steer(spec: Spec, knobs: Knobs, params: Params, key: Array) -> Array:
    """Mean change of output j over one batch as W_i is added to h, [n, n] with i first."""
    model = models.MODELS[spec.model]
    h = model.hidden(params, data.SAMPLERS[spec.data].draw(spec, knobs, key, BATCH))
    before = model.read_out(params, h)

    def changed(vector: Array) -> Array:
        return jnp.mean(model.read_out(params, h + vector[:, None]) - before, axis=1)

    return jax.lax.map(changed, model.embedding(params))


OF_LINEAR = "of cells with h = Wᵀx"
ANALYSIS = Analysis(
    question="Are features directions, and is what represents them linear?",
    needs=(
        needs.IDENTITY,
        needs.same(needs.FEATURES),
        needs.MOMENTS,
    ),
    runs_on="cpu",
    keys=Keys(
        numbers={
            "cells": CELLS,
            "linear_gap_most": Key(f"largest additivity_gap {OF_LINEAR}"),
            "probe_deviation_most": Key(f"largest probe_deviation {OF_LINEAR}"),
            "probe_sum_off_most": Key(f"largest probe_sum_off {OF_LINEAR}"),
            "steered_least": Key("least steered of a cell"),
        },
        rows={
            "represented": Key("features with ‖W_i‖ > 1/2"),
            "rank": Key("rank of their vectors"),
            "superposed": Key("whether they are more than that", "bool"),
            "negative_weights": Key("Σ W_ik² over negative entries by that over all"),
            "additivity_gap": Key("Σ ‖h(x+y) - h(x) - h(y)‖² by Σ ‖h(x+y)‖², disjoint x and y"),
            "probe_sum": Key("Σ R²_i of linear probes"),
            "probe_deviation": Key("largest |R²_i - expected|"),
            "probe_sum_off": Key("|Σ R²_i / Σ expected - 1|"),
            "steered": Key("share of represented features whose output rises most as W_i is added"),
            "specificity_mean": Key("mean specificity of represented features"),
            "read_out_ratio": Key("loss by that of the best linear read-out"),
        },
        arrays={
            "probe_r2": Key("R² of linear probes on held-out samples", shape="[C, n]"),
            "probe_expected": Key("the same in closed form; NaN if unknown", shape="[C, n]"),
            "response": Key("mean change of output j as W_i is added", shape="[C, n, n]"),
            "specificity": Key("share of its own output in all changes", shape="[C, n]"),
            "norms": Key("‖W_i‖", shape="[C, n]"),
            "cell": CELL,
        },
    ),
    compute=linearity,
)
