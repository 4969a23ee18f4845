"""How are features aligned with neurons?

Features per neuron, alignment and kurtosis of each cell's selected model, beside the same
embedding in bases drawn at random: what differs from those is privileged.
Source: Elhage et al. 2022, "Superposition in a privileged basis".
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import rotations
from superposition_cli.running.results import Results
from superposition_cli.theory import linear
from superposition_cli.toy import metrics, rng

ROTATIONS = 64


def basis(results: Results) -> Finding:
    """Return how features and neurons of each cell's selected model are aligned.

    Rows, of the embedding as trained: serving_1, serving_2, serving_3 and serving_more count
    live neurons by their features_per_neuron, rounded (serving_1: monosemantic), dead those
    without; features_per_neuron, alignment and kurtosis are means over live neurons or
    represented features. interference: Σ_{i≠j} (Ŵ_i·W_j)² over represented i (the direction
    of a vector of no length is noise), which no rotation changes.
    With `_null`: the mean over 64 random rotations of the same embedding;
    alignment_above: the share of them that are aligned no better than the model.

    Arrays: W [cells, n, m]; features_per_neuron and kurtosis [cells, m];
    features_per_neuron_null and alignment_null [cells, rotations]; cell [cells].

    Raises `InvalidInput` where n_features or n_hidden differ between cells, and where no
    cell has a selected model. Cells without one are left out.
    """
    kept = list(results.selected)
    if not kept:
        raise InvalidInput("basis needs a selected model in at least one cell")
    settings = [results.plan.setting(cell) for cell in kept]
    if len({(one.model.n_features, one.model.n_hidden) for one in settings}) > 1:
        raise InvalidInput("basis needs the same n_features and n_hidden in every cell")
    found = [
        measure(setting, results.model(results.selected[cell])["W"])
        for cell, setting in zip(kept, settings, strict=True)
    ]
    rows = tuple(
        {**results.plan.assignment(cell), "kind": setting.model.kind, **row(one)}
        for cell, setting, one in zip(kept, settings, found, strict=True)
    )
    names = ("W", "features_per_neuron", "kurtosis", "features_per_neuron_null", "alignment_null")
    arrays = {name: np.stack([one[name] for one in found]) for name in names}
    return Finding({"cells": len(rows)}, rows, {**arrays, "cell": np.array(kept)})


def measure(setting: Setting, W: np.ndarray) -> dict[str, np.ndarray]:
    """Return one embedding [n, m] measured in its own basis and in random ones, in float64."""
    with jax.enable_x64(True):
        key = jax.random.fold_in(rng.key(setting.seed), rng.Use.BASIS)
        own = jnp.asarray(W, jnp.float64)
        turned = own @ jnp.swapaxes(rotations.haars(key, ROTATIONS, own.shape[1]), 1, 2)
        crossed = jnp.where(metrics.represented(own), metrics.superposition(own), 0)
        kurtosis = _kurtosis(setting)
        found = {
            "W": own,
            "interference": jnp.sum(crossed),
            "features_per_neuron": metrics.features_per_neuron(own),
            "alignment": metrics.basis_alignment(own),
            "kurtosis": kurtosis(own),
            "features_per_neuron_null": jax.vmap(_mean_features)(turned),
            "alignment_null": jax.vmap(metrics.basis_alignment)(turned),
            "kurtosis_null": jax.vmap(lambda one: jnp.nanmean(kurtosis(one)))(turned),
        }
        return {name: np.asarray(values) for name, values in found.items()}


def _mean_features(W: jax.Array) -> jax.Array:
    return jnp.nanmean(metrics.features_per_neuron(W))


def _kurtosis(setting: Setting) -> Any:
    """The function W [n, m] -> [m] for the data of a setting; NaN for tied features."""
    data = setting.data
    if data.kind != "uniform":
        return lambda W: jnp.full(W.shape[1], jnp.nan)
    p = jnp.asarray(setting.feature_probability(), jnp.float64)
    variance = linear.uniform_variance(p, data.low, data.high)
    cumulant = linear.fourth_cumulant(p, data.low, data.high)
    return lambda W: linear.hidden_kurtosis(W, variance, cumulant)


def row(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the numbers of one measured embedding."""
    each = found["features_per_neuron"]
    served = np.floor(each[np.isfinite(each)] + 0.5).astype(int)
    return {
        "represented": int(np.sum(np.linalg.norm(found["W"], axis=1) > metrics.REPRESENTED_NORM)),
        "interference": float(found["interference"]),
        **{f"serving_{count}": int(np.sum(served == count)) for count in (1, 2, 3)},
        "serving_more": int(np.sum(served > 3)),
        "dead": int(len(each) - len(served)),
        "features_per_neuron": _mean(each),
        "features_per_neuron_null": _mean(found["features_per_neuron_null"]),
        "alignment": _mean(found["alignment"]),
        "alignment_null": _mean(found["alignment_null"]),
        "alignment_above": float(np.mean(found["alignment_null"] <= found["alignment"])),
        "kurtosis": _mean(found["kurtosis"]),
        "kurtosis_null": _mean(found["kurtosis_null"]),
    }


def _mean(values: np.ndarray) -> float | None:
    """The mean of the entries that exist, None where there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None
