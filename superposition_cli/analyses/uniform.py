"""How do equally important features share dimensions as they become sparse?

Uniform geometry: D* and D_i over the feature probability p, the polytopes that represented
features form, and the loss that copies of the best single polytope would reach. Cells are
in order of rising 1/p. Source: Elhage et al. 2022, "The geometry of superposition".
"""

from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import geometry
from superposition_cli.running.results import Results
from superposition_cli.theory.phases import UNIFORM_POLYTOPES, Polytope, benefit_per_dimension
from superposition_cli.toy import metrics

PROBABILITY = "data.feature_probability"
STICKY: dict[str, float | tuple[float, ...]] = {
    "sticky_1": 1.0,
    "sticky_3_4": 3 / 4,
    "sticky_2_3": 2 / 3,
    "sticky_1_2": 1 / 2,
    "sticky_2_5": 2 / 5,
    "sticky_3_8": 3 / 8,
    "sticky_1_3": 1 / 3,
    "sticky_1_4": 1 / 4,
    "sticky_1_2_to_3_8": (1 / 2, 2 / 5, 3 / 8),
}
LABELS = (*geometry.POLYTOPES.values(), geometry.IRREGULAR)
OTHER = "other"
SUPERPOSED = 0.5  # up to this p features share dimensions in tight frames, so Σ D_i = m


class Embedding(NamedTuple):
    """What an analysis needs of one embedding, W [n, m]."""

    measured: dict[str, Any]
    D: np.ndarray  # [n], D_i; NaN for a feature that is not represented
    norms: np.ndarray  # [n]
    shape: tuple[int, int]  # n features, m hidden dimensions


def uniform(results: Results) -> Finding:
    """Return the geometry of each cell's selected model, and of the run as a whole.

    d_star_monotone: whether D* falls from each p to the next smaller one. sum_share_least
    and sum_share_most: Σ D_i / m over p <= 1/2, null where there is no such cell. Cells
    without a selected model (all diverged, or a rule that averages) are left out.

    Raises `InvalidInput` unless the run sweeps the feature probability alone, of equally
    important independent features in a relu_output model.
    """
    check(results)
    columns = results.cells
    density = np.asarray(columns["feature_probability"], float)
    kept = sorted(results.selected, key=lambda cell: -density[cell])
    if not kept:
        raise InvalidInput("uniform needs a selected model in at least one cell")
    found = [embedding(results.model(results.selected[cell])["W"]) for cell in kept]
    benefits = benefit_curves(density[kept])
    cells = [
        {
            **results.plan.assignment(cell),
            "inverse_density": float(1 / density[cell]),
            "loss_normalised": _number(columns["loss_normalised"][cell]),
        }
        for cell in kept
    ]
    return assemble(density[kept], cells, found, benefits)


def assemble(
    p: np.ndarray, cells: list[dict[str, Any]], found: list[Embedding], benefits: np.ndarray
) -> Finding:
    """Put cells, their embeddings and the theory together, all in order of falling p [P].

    Arrays: p and D_star [P], D and norms [P, n], benefit [polytopes, P].
    """
    n, m = found[0].shape
    theory = predictions(benefits, n, m)
    parts = zip(cells, found, theory, strict=True)
    rows = tuple({**cell, **one.measured, **predicted} for cell, one, predicted in parts)
    arrays = {
        "p": p,
        "D_star": np.array([row["d_star"] for row in rows], float),
        "D": np.stack([one.D for one in found]),
        "norms": np.stack([one.norms for one in found]),
        "benefit": benefits,
    }
    return Finding(overall(p, rows), rows, arrays)


def check(results: Results) -> None:
    """Raise `InvalidInput` where a run is no sweep of uniform superposition."""
    experiment = results.plan.experiment
    if [axis.names for axis in experiment.axes] != [(PROBABILITY,)]:
        raise InvalidInput(f"uniform needs a sweep over {PROBABILITY} and no other axis")
    (axis,) = experiment.axes
    if not all(isinstance(axis.item(i)[0], int | float) for i in range(axis.length)):
        raise InvalidInput("uniform needs one feature probability for all features of a cell")
    setting = results.plan.setting(0)
    data = setting.data
    if setting.model.kind != "relu_output":
        raise InvalidInput(f"uniform is for relu_output, not {setting.model.kind}")
    if (data.kind, data.target, data.low, data.high) != ("uniform", "identity", 0, 1):
        raise InvalidInput("uniform is for independent features in U[0, 1] and the target identity")
    if set(setting.importance()) != {1}:
        raise InvalidInput("uniform needs importance 1 for all features")


def embedding(W: np.ndarray) -> Embedding:
    """Measure one embedding, W [n, m], in double precision.

    d_star = m / ‖W‖_F², sum_share = Σ D_i / m, sticky_* the share of represented features
    with D_i within .03 of a fraction; see `metrics`. The rest is of `polytopes`.
    """
    W = np.asarray(W, np.float64)
    with jax.enable_x64(True):
        on_device = jnp.asarray(W)
        D = np.asarray(metrics.feature_dimensionality(on_device))
        norms = np.asarray(metrics.feature_norms(on_device))
        d_star = _number(metrics.dims_per_feature(on_device))
        sticky = {
            name: _number(metrics.sticky_fraction(on_device, fraction))
            for name, fraction in STICKY.items()
        }
    represented = norms > metrics.REPRESENTED_NORM
    measured = {
        "d_star": d_star,
        "represented": int(represented.sum()),
        "sum_share": float(D.sum() / W.shape[1]),
        **sticky,
        **polytopes(W, D),
    }
    return Embedding(measured, np.where(represented, D, np.nan), norms, (len(W), W.shape[1]))


def polytopes(W: np.ndarray, D: np.ndarray) -> dict[str, Any]:
    """Count the components of the feature graph by the polytope they form.

    components_<label> for the labels of `geometry.polytope_label`; a tight frame without a
    name ("7/3") is `other`. digon_share is the share of digons among components with two
    or more features, null without any. W [n, m], D [n] its feature dimensionalities.
    """
    parts = geometry.components(geometry.feature_graph(W))
    labels = [geometry.polytope_label(W, D, part) for part in parts]
    counts = Counter(label if label in LABELS else OTHER for label in labels)
    shared = sum(len(part) > 1 for part in parts)
    return {
        "structure": geometry.describe(W).split(" (")[0],
        "components": len(parts),
        **{f"components_{label.replace(' ', '_')}": counts[label] for label in (*LABELS, OTHER)},
        "digon_share": counts["digon"] / shared if shared else None,
    }


def benefit_curves(p: np.ndarray) -> np.ndarray:
    """Return the benefit per dimension of each of `UNIFORM_POLYTOPES`: [P] -> [polytopes, P].

    See `phases.benefit_per_dimension`; cosines are filled up with zeros, which interfere
    with nothing, so that one program serves all polytopes.
    """
    at = jnp.asarray(p, jnp.float32)
    width = max(len(one.cosines) for one in UNIFORM_POLYTOPES.values())
    curves = []
    for one in UNIFORM_POLYTOPES.values():
        cosines = np.zeros(width, np.float32)
        cosines[: len(one.cosines)] = one.cosines
        per_dimension = (len(one.cosines) + 1) / one.dimensions
        curves.append(per_dimension * np.asarray(_saved(cosines, at), np.float64))
    return np.stack(curves)


@jax.jit
def _saved(cosines: jax.Array, p: jax.Array) -> jax.Array:
    """The share of its variance that a vertex saves, [P]: the benefit with k = d."""
    polytope = Polytope(tuple(cosines), len(cosines) + 1)
    return jax.lax.map(lambda one: benefit_per_dimension(polytope, one), p)


def predictions(benefits: np.ndarray, n: int, m: int) -> list[dict[str, Any]]:
    """Return for each p the best polytope, its benefit B and L / L_null = 1 - B m / n.

    For n >> m features in m dimensions all filled with copies of one polytope, benefits
    [polytopes, P]. Never below 0, and null once the copies need more than n features.
    """
    names, best = list(UNIFORM_POLYTOPES), benefits.argmax(axis=0)
    found = []
    for i, which in enumerate(best):
        polytope, benefit = UNIFORM_POLYTOPES[names[which]], float(benefits[which, i])
        needed = (len(polytope.cosines) + 1) / polytope.dimensions * m
        predicted = max(0.0, 1 - benefit * m / n) if needed <= n else None
        found.append(
            {"best_polytope": names[which], "benefit": benefit, "predicted_loss": predicted}
        )
    return found


def overall(p: np.ndarray, rows: tuple[Row, ...]) -> dict[str, float | int | bool | None]:
    """Return what holds for all cells together; rows in order of falling p."""
    d_star = [row["d_star"] for row in rows]
    known = None not in d_star
    shares = [row["sum_share"] for row, at in zip(rows, p, strict=True) if at <= SUPERPOSED]
    return {
        "cells": len(rows),
        "d_star_monotone": known and bool(np.all(np.diff(np.array(d_star, float)) < 0)),
        "sum_share_least": min(shares, default=None),
        "sum_share_most": max(shares, default=None),
    }


def _number(value: Any) -> float | None:
    """A number that JSON can hold; None where there is none."""
    return float(value) if np.isfinite(value) else None
