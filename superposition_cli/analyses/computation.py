"""What does each hidden neuron of an abs model compute, and for how many features?

|x| = ReLU(x) + ReLU(-x): a feature is computed exactly by one neuron for its positive and
one for its negative values. Sparse features share neurons: computation in superposition.
Source: Elhage et al. 2022, "Computation in superposition".
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELL, CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.config import Setting
from superposition_cli.running import grid
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.toy import data, evaluate, metrics, rng

COMPUTED_COST = 0.5  # a feature that costs less, in units of its variance, is computed
SERVING_GAIN = 0.5  # a neuron serves a feature where its path carries more than this
BATCH = 8192
LEAST_RATIO, MOST_RATIO = 2.0, 8.0  # of the input weights of an asymmetric neuron
MOST_GAIN = 2.0  # and how far its two paths may be from 1


class Motif(NamedTuple):
    """Asymmetric superposition: one neuron halves one feature and doubles another.

    The neuron `shared` serves both; where `strong` is active it would answer `weak` too, far
    too strongly, which the neuron `inhibitor` takes back.
    """

    shared: int
    strong: int  # the feature with the larger input weight
    weak: int
    inhibitor: int


def computation(results: Results) -> Finding:
    """Return what the neurons of each cell's selected model compute; rows as in `measured`.

    Costs are `costs`, matrices in canonical form (see `canonical`). Cells without a selected
    model are left out.
    """
    models = selection.selected(results, "computation")
    params = [model.params for model in models]
    settings = [model.setting for model in models]
    cost = np.stack([costs(*both) for both in zip(settings, params, strict=True)])
    forms = [canonical(given["W"], given["U"]) for given in params]
    rows = tuple(
        {
            **model.axes,
            "loss_normalised": model.recorded("loss_normalised"),
            **measured(*form, of_feature),
        }
        for model, form, of_feature in zip(models, forms, cost, strict=True)
    )
    p = np.array([np.mean(setting.marginal()) for setting in settings])
    arrays = {
        "cell": np.array([model.cell for model in models]),
        "p": p,
        "W": np.stack([W for W, _ in forms]),
        "U": np.stack([U for _, U in forms]),
        "b": np.stack([given["b"] for given in params]).astype(np.float64),
        "cost": cost,
        "importance": np.array([setting.importance() for setting in settings], float),
        "features_per_neuron": np.stack([_features_per_neuron(*form) for form in forms]),
    }
    return Finding(overall(p, rows), rows, arrays)


def canonical(W: np.ndarray, U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rescale every neuron so that its largest input weight is ±1: W, U [n, m].

    ReLU(s z) = s ReLU(z) for s > 0, so W_k / s and s U_k compute the same. A neuron without
    input weights gets output weights of 0. In double precision.
    """
    W, U = np.asarray(W, np.float64), np.asarray(U, np.float64)
    largest = np.abs(W).max(axis=0)
    return W / np.where(largest > 0, largest, 1), U * largest


def costs(setting: Setting, model: Arrays) -> np.ndarray:
    """Return what every feature costs, E (|x_i| - y_i)² / var |x_i|: [n].

    By quadrature where patterns of activity are few, as the loss of the tables is; else on data
    that neither trained nor selected a model.
    """
    spec = replace(grid.spec_of(setting), batch_size=BATCH, objective="sampled")
    with jax.enable_x64(spec.dtype == "float64"):
        key = jax.random.fold_in(selection.model_keys(setting)[0], rng.Use.ANALYSIS)
        knobs = grid.knobs_of_one(setting, spec.dtype)
        params = {name: jnp.asarray(leaf) for name, leaf in model.items()}
        error = np.asarray(_feature_errors(spec, knobs, key, params), np.float64)
        variance = np.diagonal(data.moments(spec, knobs).covariance)
    return error / variance


_feature_errors = partial(jax.jit, static_argnums=0)(evaluate.feature_errors)


def measured(W: np.ndarray, U: np.ndarray, cost: np.ndarray) -> Row:
    """Return what the row of a model says; W, U [n, m] in canonical form, cost [n].

    A neuron serves a feature on the side + or - of its values where U_ik > 0 and
    ±W_ik U_ik > 1/2. A neuron is live if its canonical output weights have a norm of at least
    0.01.
    """
    plus, minus = serves(W, U)
    both = (plus.sum(1), minus.sum(1))
    PR = _features_per_neuron(W, U)
    live = np.isfinite(PR)
    monosemantic = live & (PR < metrics.MONOSEMANTIC_FEATURES)
    return {
        "computed": int((cost < COMPUTED_COST).sum()),
        "two_sided": int(((both[0] > 0) & (both[1] > 0)).sum()),
        "one_of_each": int(((both[0] == 1) & (both[1] == 1)).sum()),
        "pairs": int(np.minimum(*both).sum()),
        "plus": int(plus.any(0).sum()),
        "minus": int(minus.any(0).sum()),
        "live": int(live.sum()),
        "monosemantic": int(monosemantic.sum()),
        "polysemantic_share": float(np.mean(~monosemantic[live])) if live.any() else None,
        "median_features": float(np.median(PR[live])) if live.any() else None,
        "asymmetric": len({motif.shared for motif in asymmetric(W, U)}),
    }


def serves(W: np.ndarray, U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell which neurons serve which features on the + and on the - side: two [n, m] of bool."""
    gain = W * U
    return (U > 0) & (gain > SERVING_GAIN), (U > 0) & (gain < -SERVING_GAIN)


def asymmetric(W: np.ndarray, U: np.ndarray) -> list[Motif]:
    """Find the motifs of asymmetric superposition, W and U [n, m].

    A neuron that serves exactly two features, whose input weights are in a ratio of 2:1 to
    8:1 and whose output weights are the reciprocals (|W_ik| U_ik between 1/2 and 2); and
    another neuron that the strong feature drives on the same side and that lowers the answer
    of the weak one by more than 1/2 per unit. Source: Elhage et al. 2022.
    """
    plus, minus = serves(W, U)
    gain, served = np.abs(W * U), plus | minus
    motifs = []
    for k in np.flatnonzero(served.sum(0) == 2):
        weak, strong = sorted(np.flatnonzero(served[:, k]), key=lambda i: abs(W[i, k]))
        ratio = abs(W[strong, k] / W[weak, k])
        if not LEAST_RATIO <= ratio <= MOST_RATIO or max(gain[[weak, strong], k]) > MOST_GAIN:
            continue
        driven = np.maximum(np.sign(W[strong, k]) * W[strong], 0) * U[weak]
        inhibitor = int(driven.argmin())
        if driven[inhibitor] < -SERVING_GAIN:
            motifs.append(Motif(int(k), int(strong), int(weak), inhibitor))
    return motifs


def overall(p: np.ndarray, rows: tuple[Row, ...]) -> dict[str, float | int | None]:
    """Return what holds for all cells together; p [C] in the order of the rows."""
    order = np.argsort(-p, kind="stable")
    shares = [rows[i]["polysemantic_share"] for i in order]
    known = None not in shares and len(np.unique(p)) == len(p)
    falls = [a - b for i, a in enumerate(shares) for b in shares[i + 1 :]] if known else []
    return {
        "cells": len(rows),
        "best_loss": min(row["loss_normalised"] for row in rows),
        "worst_loss": max(row["loss_normalised"] for row in rows),
        "most_computed": max(row["computed"] for row in rows),
        "asymmetric": sum(row["asymmetric"] for row in rows),
        "polysemantic_fall": float(max([0.0, *falls])) if known else None,
    }


def _features_per_neuron(W: np.ndarray, U: np.ndarray) -> np.ndarray:
    """The participation ratio of every neuron's input weights, [m]; NaN for a dead one."""
    with jax.enable_x64(True):
        PR = np.asarray(metrics.features_per_neuron(jnp.asarray(W)))
        live = np.asarray(metrics.live_neurons(jnp.asarray(U)))
    return np.where(live, PR, np.nan)


ANALYSIS = Analysis(
    question="What does each hidden neuron of an abs model compute, and for how many features?",
    needs=(
        needs.among(needs.KIND, "abs"),
        needs.among("data.target", "abs"),
        needs.BOTH_SIGNS,
        needs.same(needs.FEATURES, needs.HIDDEN),
        needs.MOMENTS,
    ),
    runs_on="any",
    keys=Keys(
        numbers={
            "cells": CELLS,
            "best_loss": Key("least loss_normalised of a cell"),
            "worst_loss": Key("largest loss_normalised of a cell"),
            "most_computed": Key("most features computed in a cell"),
            "asymmetric": Key("neurons in asymmetric superposition, of all cells"),
            "polysemantic_fall": Key(
                "most by which polysemantic_share falls from one cell to a sparser one, or 0; "
                "null where a density occurs twice"
            ),
        },
        rows={
            "loss_normalised": Key("loss by the null loss"),
            "computed": Key(f"features that cost less than {COMPUTED_COST:g} of their variance"),
            "two_sided": Key("features served on both sides"),
            "one_of_each": Key("features with exactly one neuron on each side"),
            "pairs": Key("pairs of a neuron on + and one on - that serve the same feature"),
            "plus": Key("neurons that serve a feature on the + side"),
            "minus": Key("neurons that serve a feature on the - side"),
            "live": Key("neurons with output weights"),
            "monosemantic": Key(
                f"live neurons with fewer than {metrics.MONOSEMANTIC_FEATURES:g} features"
            ),
            "polysemantic_share": Key("share of live neurons that are not monosemantic"),
            "median_features": Key("median of features_per_neuron over live neurons"),
            "asymmetric": Key("neurons in asymmetric superposition"),
        },
        arrays={
            "cell": CELL,
            "p": Key("mean probability that a feature is active", shape="[C]"),
            "W": Key("input weights in canonical form", shape="[C, n, m]"),
            "U": Key("output weights in canonical form", shape="[C, n, m]"),
            "b": Key("biases", shape="[C, n]"),
            "cost": Key("E (|x_i| - y_i)² / var |x_i|", shape="[C, n]"),
            "importance": Key("I_i", shape="[C, n]"),
            "features_per_neuron": Key("effective number of features; NaN if dead", shape="[C, m]"),
        },
    ),
    compute=computation,
)
